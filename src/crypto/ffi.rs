//! Helpers around aws-lc's C types: owned pointers and its yes-or-no answers.
