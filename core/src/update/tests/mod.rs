//! Updates as bytes: captured ones, and random histories held against yrs.

mod golden;
mod outline;
mod pages;
mod random;
mod served;
