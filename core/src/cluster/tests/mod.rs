//! Tests of the machine and its bytes.
