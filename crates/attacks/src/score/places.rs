//! Sets of features at random bounds, for attacks that change a fixed number of features.

use proofmark_domain::{Grid, Modality};
use proofmark_stats::random::Stream;
use proofmark_threat::Budget;

/// The features of one input that may change, in places of one feature each, or of one per channel.
#[derive(Debug)]
pub(super) struct Places {
    /// The pixels of an image, or single features: a place's features, one per channel, change together.
    grid: Grid,
    /// Places that have a feature that may change.
    all: Vec<usize>,
    free: Vec<bool>,
    low: Vec<f32>,
    high: Vec<f32>,
}

/// Draws of random bounds for a pixel before its first channel is set to the other bound.
const DRAWS: u32 = 16;

impl Places {
    pub(super) fn new(modality: &Modality, budget: &Budget, pixels: bool) -> Self {
        let features = modality.features();
        let single = Grid::channels_first([1, 1, features]);
        let grid = Grid::of(modality).filter(|_| pixels).unwrap_or(single);
        let may = |f: usize| budget.moves() && budget.mask.as_ref().is_none_or(|mask| mask[f]);
        let free: Vec<bool> = (0..features).map(may).collect();
        let any = |place: &usize| (0..grid.channels).any(|c| free[grid.feature(c, *place)]);
        Self {
            all: (0..grid.pixels()).filter(any).collect(),
            grid,
            free,
            low: (0..features).map(|f| modality.bounds.low(f)).collect(),
            high: (0..features).map(|f| modality.bounds.high(f)).collect(),
        }
    }

    /// Returns how many places a budget of `eps` features lets change.
    pub(super) fn count(&self, eps: f64) -> usize {
        (eps as usize / self.grid.channels).min(self.all.len())
    }

    /// Returns the features of a place that may change.
    fn features(&self, place: usize) -> impl Iterator<Item = usize> {
        (0..self.grid.channels)
            .map(move |c| self.grid.feature(c, place))
            .filter(|f| self.free[*f])
    }

    fn differs(&self, x: &[f32], x0: &[f32], place: usize) -> bool {
        self.features(place).any(|f| x[f] != x0[f])
    }

    fn reset(&self, x: &mut [f32], x0: &[f32], place: usize) {
        for f in self.features(place) {
            x[f] = x0[f];
        }
    }

    /// Sets the features of a place to random bounds, not all to their clean values.
    fn paint(&self, x: &mut [f32], x0: &[f32], place: usize, stream: &mut Stream) {
        for _ in 0..DRAWS {
            for f in self.features(place) {
                let up = stream.next_u32() & 1 == 1;
                x[f] = if up { self.high[f] } else { self.low[f] };
            }
            if self.differs(x, x0, place) {
                return;
            }
        }
        if let Some(f) = self.features(place).next() {
            let is_low = x0[f] == self.low[f];
            x[f] = if is_low { self.high[f] } else { self.low[f] };
        }
    }

    /// Changes `count` random places of a clean sample.
    pub(super) fn scatter(&self, x: &mut [f32], x0: &[f32], count: usize, stream: &mut Stream) {
        let mut places = self.all.clone();
        for place in picked(&mut places, count, stream) {
            self.paint(x, x0, *place, stream);
        }
    }

    /// Resets at most `count` random changed places and changes as many others instead. If all places are changed, it
    /// draws new bounds for them.
    pub(super) fn exchange(&self, x: &mut [f32], x0: &[f32], count: usize, stream: &mut Stream) {
        let changed = |place: &usize| self.differs(x, x0, *place);
        let (mut inside, mut outside): (Vec<usize>, Vec<usize>) =
            self.all.iter().partition(|place| changed(place));
        let count = count.min(inside.len());
        if outside.is_empty() {
            for place in picked(&mut inside, count, stream) {
                self.paint(x, x0, *place, stream);
            }
            return;
        }
        let count = count.min(outside.len());
        for place in picked(&mut inside, count, stream) {
            self.reset(x, x0, *place);
        }
        for place in picked(&mut outside, count, stream) {
            self.paint(x, x0, *place, stream);
        }
    }
}

/// Moves `count` random places to the front (at most all) and returns them.
fn picked<'a>(places: &'a mut [usize], count: usize, stream: &mut Stream) -> &'a [usize] {
    let count = count.min(places.len());
    for i in 0..count {
        let j = i + stream.below((places.len() - i) as u32) as usize;
        places.swap(i, j);
    }
    &places[..count]
}

#[cfg(test)]
mod tests {
    use proofmark_domain::{Bounds, Epsilon, Kind, Norm, Seed};
    use proofmark_stats::random::{Purpose, StreamKey};
    use proofmark_threat::Radius;

    use super::*;

    fn stream(sample: u64) -> Stream {
        Stream::new(&StreamKey::new(Seed(1), sample, Purpose::Direction))
    }

    /// An image of 3 channels and 2 × 4 pixels, of which the last channel of the first pixel and all of the second may
    /// not change.
    fn image(pixels: bool) -> Places {
        let modality = Modality {
            name: "x".into(),
            kind: Kind::Image,
            shape: vec![3, 2, 4],
            bounds: Bounds::uniform(-1.0, 1.0).unwrap(),
        };
        let frozen = [16, 1, 9, 17];
        let budget = Budget {
            modality: "x".into(),
            norm: Norm::L0,
            radius: Radius::Uniform(Epsilon::new(9.0).unwrap()),
            mask: Some((0..24).map(|f| !frozen.contains(&f)).collect()),
        };
        Places::new(&modality, &budget, pixels)
    }

    #[test]
    fn exchanges_keep_the_number_of_changed_places() {
        for pixels in [false, true] {
            let input = image(pixels);
            // Half of the features are at a bound, where a random bound may be the clean value.
            let x0: Vec<f32> = (0..24)
                .map(|f| if f % 2 == 0 { -1.0 } else { 0.5 })
                .collect();
            let count = input.count(9.0);
            assert_eq!(
                (input.all.len(), count),
                if pixels { (7, 3) } else { (20, 9) }
            );
            let mut stream = stream(u64::from(pixels));
            let mut x = x0.clone();
            input.scatter(&mut x, &x0, count, &mut stream);
            let mut seen = std::collections::BTreeSet::new();
            for _ in 0..200 {
                let changed = |x: &[f32]| -> Vec<usize> {
                    let of = input.all.iter().copied();
                    of.filter(|place| input.differs(x, &x0, *place)).collect()
                };
                let before = changed(&x);
                assert_eq!(before.len(), count);
                seen.extend(before.iter().copied());
                let all = x.iter().zip(&x0).enumerate();
                for (f, (x, x0)) in all.filter(|(_, (x, x0))| x != x0) {
                    assert!(input.free[f] && x.abs() == 1.0 && x0.abs() <= 1.0, "{f}");
                }
                input.exchange(&mut x, &x0, 2, &mut stream);
                let kept = changed(&x).iter().filter(|p| before.contains(p)).count();
                assert_eq!(kept, count - 2);
            }
            assert_eq!(seen.len(), input.all.len());
        }
    }

    #[test]
    fn a_pixel_is_a_pixel_if_channels_lie_last() {
        let mut modality = Modality {
            name: "x".into(),
            kind: Kind::Image,
            shape: vec![2, 4, 3],
            bounds: Bounds::uniform(-1.0, 1.0).unwrap(),
        };
        let budget = Budget {
            modality: "x".into(),
            norm: Norm::L0,
            radius: Radius::Uniform(Epsilon::new(9.0).unwrap()),
            mask: None,
        };
        let last = Places::new(&modality, &budget, true);
        assert_eq!(last.features(5).collect::<Vec<_>>(), [15, 16, 17]);
        modality.shape = vec![3, 2, 4];
        let first = Places::new(&modality, &budget, true);
        assert_eq!(first.features(5).collect::<Vec<_>>(), [5, 13, 21]);
    }

    #[test]
    fn a_budget_for_everything_redraws_bounds() {
        let input = image(true);
        let x0 = vec![0.0; 24];
        let mut x = x0.clone();
        let mut stream = stream(7);
        input.scatter(&mut x, &x0, input.count(1e9), &mut stream);
        let before = x.clone();
        input.exchange(&mut x, &x0, 2, &mut stream);
        assert!(input.all.iter().all(|place| input.differs(&x, &x0, *place)));
        let moved = |place: &&usize| input.differs(&x, &before, **place);
        assert!(input.all.iter().filter(moved).count() <= 2 && x != before);
    }
}
