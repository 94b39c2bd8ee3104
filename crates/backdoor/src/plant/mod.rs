//! Planters, one file each: transforms of a data set that put a trigger into some samples.
