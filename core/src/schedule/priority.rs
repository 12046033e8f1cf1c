//! How much something matters, and how much the link costs.

/// How soon an item goes out, compared with others on the same link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// When there is nothing else, or in its eighth.
    Low,
    /// The edits of a document.
    #[default]
    Normal,
    /// Before Normal, most of the time.
    High,
    /// Before everything else, always.
    Critical,
}

impl Priority {
    /// All of them, the most important first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Normal, Self::Low];

    /// Its share of what critical items leave, in eighths; nothing for those, which do not share.
    pub(super) fn eighths(self) -> Option<u64> {
        match self {
            Self::Critical => None,
            Self::High => Some(5),
            Self::Normal => Some(2),
            Self::Low => Some(1),
        }
    }
}

/// What the app says of the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Everything goes out as soon as it can.
    #[default]
    Normal,
    /// The link is metered, or power is low: Low waits, Normal is gathered.
    Saving,
}
