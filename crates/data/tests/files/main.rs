//! Data files of every format: good, wrong, damaged and hostile.

mod cifar;
mod csv;
mod hostile;
mod idx;
mod images;
mod labels;
mod make;
mod npy;
mod npz;
mod parts;
mod targets;
mod typed;
mod units;
mod vnnlib;
