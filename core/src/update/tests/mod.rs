mod golden;
mod random;
