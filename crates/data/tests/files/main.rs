//! Data files of every format as users have them: good, wrong, damaged and hostile.

mod cifar;
mod csv;
mod hostile;
mod idx;
mod make;
mod npz;
mod parts;
mod typed;
mod vnnlib;
