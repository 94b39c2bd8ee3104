//! Maps from a few parameters to a changed input, one file each.
//!
//! The attacker chooses parameters instead of values. Parameters are numbers in `[-1, 1]`, in units of their limits, and
//! 0 stands for the clean point of the search; the threat model is a box around it, so the gauge of a point is its
//! largest parameter in units of its limit, times 1/epsilon. A map may be random (the place of a patch): then it takes
//! a stream of its own for each draw. A model behind a map is a model of the parameters
//! (`proofmark_model::wrap::Mapped`), so every attack, the executor and the judge work on it unchanged.

mod patch;
mod spatial;

use std::fmt::Debug;
use std::sync::Arc;

use proofmark_domain::{Bounds, Grid, Kind, MapSpec, Modality};
use proofmark_stats::random::Stream;

/// A map from parameters to a changed input.
pub trait Map: Send + Sync + Debug {
    /// Returns the parameters as an input: their shape, with bounds `[-1, 1]`.
    fn parameters(&self) -> &Modality;

    /// Returns the number of random draws by which a point is judged: 1 if the map is not random.
    fn draws(&self) -> u32 {
        1
    }

    /// Returns the changed input for clean values and parameters.
    fn apply(&self, x0: &[f32], parameters: &[f32], stream: &mut Stream) -> Vec<f32>;

    /// Returns the gradient with respect to the parameters, given that with respect to the changed input: the product
    /// with the transposed Jacobian. `stream` is one like that of [`Map::apply`].
    fn pull_back(
        &self,
        x0: &[f32],
        parameters: &[f32],
        gradient: &[f32],
        stream: &mut Stream,
    ) -> Vec<f32>;

    /// Returns the parameters in their own units (degrees, pixels, data units), for files.
    fn shown(&self, parameters: &[f32]) -> Vec<f32>;

    /// Returns the name of each number of [`Map::shown`], if they are not an image.
    fn names(&self) -> &'static [&'static str] {
        &[]
    }
}

/// Makes the map of `spec` for an input. The error says what does not fit.
pub fn map(spec: &MapSpec, input: &Modality) -> Result<Arc<dyn Map>, String> {
    let Some(grid) = Grid::of(input) else {
        let what = if input.kind == Kind::Image {
            "an image"
        } else {
            "no image, but a sample"
        };
        return Err(format!(
            "map {} changes images; input `{}` is {what} of shape {:?}",
            spec.name(),
            input.name,
            input.shape
        ));
    };
    Ok(match *spec {
        MapSpec::Spatial {
            degrees,
            shift,
            padding,
        } => Arc::new(spatial::Spatial::new(degrees, shift, padding, grid, input)),
        MapSpec::Patch { .. } => Arc::new(patch::Patch::new(spec, grid, input)?),
        _ => return Err(format!("map {} is not known here", spec.name())),
    })
}

/// Makes the input that holds `shape` parameters.
fn parameters(name: &str, kind: Kind, shape: Vec<usize>) -> Modality {
    Modality {
        name: name.to_owned(),
        kind,
        shape,
        bounds: Bounds::uniform(-1.0, 1.0).expect("-1 is below 1"),
    }
}

/// Corners and weights of a bilinear sample at `(y, x)`, with the derivatives of the weights by `y` and `x`. Corners may
/// lie outside the image.
fn bilinear(y: f64, x: f64) -> [([isize; 2], [f64; 3]); 4] {
    let (y0, x0) = (y.floor(), x.floor());
    let (fy, fx) = (y - y0, x - x0);
    let at = |dy: isize, dx: isize| [y0 as isize + dy, x0 as isize + dx];
    [
        (at(0, 0), [(1.0 - fy) * (1.0 - fx), fx - 1.0, fy - 1.0]),
        (at(0, 1), [(1.0 - fy) * fx, -fx, 1.0 - fy]),
        (at(1, 0), [fy * (1.0 - fx), 1.0 - fx, -fy]),
        (at(1, 1), [fy * fx, fx, fy]),
    ]
}

#[cfg(test)]
mod tests;
