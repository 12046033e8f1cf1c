//! Structural checks of foreign bytes before anything decodes them.
