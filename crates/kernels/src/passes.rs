//! The kernels of both passes: each step's forward kernel, and what makes its input gradient.

use crate::builder::Builder;
use crate::epilogue::{After, Epilogue, bits_len};
use crate::fuse::Step;
use crate::kernel::{
    Back, Between, Channelwise, Enter, Join, Kernel, Leave, Part, Taps, affine, channelwise,
    convolve, fold, max_pool, multiply, normalise, pointwise, product, rearrange, softmax,
};
use crate::lanes::Isa;
use crate::memory::{Buffer, Store};
use crate::operation::Operation;
use crate::shape::Map;
use crate::window::{Phase, Window};

/// One summand of a value's gradient.
enum Share {
    /// A gradient that is there.
    Whole(Buffer),
    /// Computed by a kernel, which is built from the buffer it writes and its epilogue.
    Computed(Box<dyn FnOnce(Buffer, Epilogue) -> Box<dyn Kernel>>),
}

/// The kernels of both passes, and the buffers and stores they use.
#[derive(Debug, Default)]
pub(crate) struct Passes {
    pub(crate) forward: Vec<Box<dyn Kernel>>,
    pub(crate) backward: Vec<Box<dyn Kernel>>,
    pub(crate) buffers: Vec<Map>,
    /// Values per row of each store.
    pub(crate) stores: Vec<usize>,
}

impl Passes {
    pub(crate) fn new(net: &Builder, steps: &[Step], output: usize, isa: Isa) -> Self {
        let mut passes = Self::default();
        let mut places: Vec<Option<Buffer>> = vec![None; net.maps.len()];
        let input = passes.buffer(net.maps[0]);
        places[0] = Some(input);
        passes.forward.push(Box::new(Enter { to: input }));
        let mut shares: Vec<Vec<Share>> = net.maps.iter().map(|_| Vec::new()).collect();
        // Per step, its activation's store and what makes its input gradient.
        let mut undo: Vec<(After, Undo)> = Vec::new();
        for step in steps {
            let to = passes.buffer(net.maps[step.value]);
            let (after, mask) = match step.clamp {
                None => (After::Nothing, After::Nothing),
                Some(clamp) => {
                    let store = passes.store(bits_len(net.maps[step.value]));
                    let slope = clamp.slope();
                    (After::Clamp(clamp, store), After::Mask { store, slope })
                }
            };
            let place = |v: usize| places[v].expect("values are computed in order");
            let epilogue = Epilogue {
                bias: None,
                addend: step.addend.map(place),
                after,
            };
            let back = passes.step(net, &step.operation, &place, to, epilogue, isa);
            places[step.value] = Some(to);
            undo.push((mask, back));
        }
        passes.forward.push(Box::new(Leave {
            from: places[output].expect("the output is computed"),
        }));

        let seed = passes.buffer(net.maps[output]);
        passes.backward.push(Box::new(Enter { to: seed }));
        shares[output].push(Share::Whole(seed));
        for (step, (mask, back)) in steps.iter().zip(undo).rev() {
            let own = std::mem::take(&mut shares[step.value]);
            let gradient = passes.sum(net.maps[step.value], own, mask);
            if let Some(addend) = step.addend {
                shares[addend].push(Share::Whole(gradient));
            }
            back(gradient, &mut shares);
        }
        let own = std::mem::take(&mut shares[0]);
        let gradient = passes.sum(net.maps[0], own, After::Nothing);
        passes.backward.push(Box::new(Leave { from: gradient }));
        passes
    }

    fn buffer(&mut self, map: Map) -> Buffer {
        self.buffers.push(map);
        Buffer(self.buffers.len() - 1)
    }

    fn store(&mut self, len: usize) -> Store {
        self.stores.push(len);
        Store(self.stores.len() - 1)
    }

    /// Adds up a value's gradient and applies the mask of the activation that made the value.
    fn sum(&mut self, map: Map, shares: Vec<Share>, mask: After) -> Buffer {
        let (mut whole, mut computed) = (Vec::new(), Vec::new());
        for share in shares {
            match share {
                Share::Whole(buffer) => whole.push(buffer),
                Share::Computed(make) => computed.push(make),
            }
        }
        let mut whole = whole.into_iter();
        let mut sum = whole.next();
        let copies: Vec<Buffer> = whole.collect();
        let mut left = copies.len() + computed.len();
        // Nothing is computed that could take the mask along.
        let alone = left == 0;
        let mut epilogue = |addend| {
            left -= 1;
            Epilogue {
                bias: None,
                addend,
                after: if left == 0 { mask } else { After::Nothing },
            }
        };
        for other in copies {
            let (to, epilogue) = (self.buffer(map), epilogue(sum));
            self.backward
                .push(Box::new(as_it_is(other, to, map, epilogue)));
            sum = Some(to);
        }
        for make in computed {
            let (to, epilogue) = (self.buffer(map), epilogue(sum));
            self.backward.push(make(to, epilogue));
            sum = Some(to);
        }
        let sum = sum.expect("every value leads to the output");
        if !alone || mask == After::Nothing {
            return sum;
        }
        let to = self.buffer(map);
        let epilogue = Epilogue {
            after: mask,
            ..Epilogue::default()
        };
        self.backward
            .push(Box::new(as_it_is(sum, to, map, epilogue)));
        to
    }

    /// Adds the forward kernel of an operation and returns the function that adds its input gradient.
    #[allow(clippy::too_many_lines)] // an arm per operation
    fn step(
        &mut self,
        net: &Builder,
        operation: &Operation,
        place: &dyn Fn(usize) -> Buffer,
        to: Buffer,
        epilogue: Epilogue,
        isa: Isa,
    ) -> Undo {
        let output = self.buffers[to.0];
        let between = |x: usize| Between {
            from: place(x),
            to,
            input: net.maps[x],
            output,
        };
        let pixel = Window::from([1, 1]);
        let (x, (kernel, back)) = match operation {
            Operation::Input | Operation::Clamp(..) => unreachable!("neither is a step of its own"),
            Operation::Add(x, _) => {
                let x = *x;
                self.forward
                    .push(Box::new(as_it_is(place(x), to, output, epilogue)));
                return Box::new(move |gradient, shares| shares[x].push(Share::Whole(gradient)));
            }
            Operation::Join(parts) => return self.join(net, parts, place, to),
            Operation::Convolution(x, c) if c.is_depthwise(net.maps[*x]) => {
                let weight = |i: usize, tap: usize| c.weight(net.maps[*x], i, i, tap);
                (
                    *x,
                    channelwise::pair(
                        between(*x),
                        c.window,
                        &weight,
                        epilogue.biased(&c.bias, output),
                    ),
                )
            }
            Operation::Convolution(x, c) => {
                let (at, input) = (between(*x), net.maps[*x]);
                let back = if fold::takes(c, input) {
                    let patches = self.buffer(fold::patches(c, input, output));
                    let sums = self.store(fold::sums_len(&c.window, input));
                    fold::back(c, input, output, isa, patches, sums)
                } else {
                    convolve::back(c, input, output, isa)
                };
                (
                    *x,
                    (
                        convolve::forward(at, c, isa, epilogue.biased(&c.bias, output)),
                        back,
                    ),
                )
            }
            Operation::Scale(x, s) => {
                let epilogue = epilogue.biased(&s.shift, output);
                (
                    *x,
                    channelwise::pair(between(*x), pixel, &|c, _| s.scale[c], epilogue),
                )
            }
            Operation::Average(x, window) => {
                let share = 1.0 / (window.size[0] * window.size[1]) as f32;
                (
                    *x,
                    channelwise::pair(between(*x), *window, &|_, _| share, epilogue),
                )
            }
            Operation::Largest(x, window) => {
                let winners = self.store(max_pool::bits_of_windows(output, window));
                (*x, max_pool::pair(between(*x), *window, winners))
            }
            Operation::Pointwise(x, stages) => {
                let slopes = self.store(pointwise::slopes_len(output));
                (*x, pointwise::pair(between(*x), stages.clone(), slopes))
            }
            Operation::Rearrange(x, order) => (*x, rearrange::pair(between(*x), order)),
            Operation::Affine(x, scale, shift) => {
                (*x, affine::pair(between(*x), scale, shift, epilogue))
            }
            Operation::Spread(x) => (*x, channelwise::spread(between(*x), epilogue)),
            Operation::Normalise(x, epsilon) => (*x, normalise::pair(between(*x), *epsilon)),
            Operation::Softmax(x, is_log, factor) => {
                (*x, softmax::pair(between(*x), *is_log, *factor))
            }
            Operation::Multiply(a, b) => {
                self.forward.push(multiply::forward(between(*a), place(*b)));
                let backs = [
                    (*a, multiply::back(place(*b))),
                    (*b, multiply::back(place(*a))),
                ];
                return Box::new(move |gradient, shares| {
                    for (x, back) in backs {
                        shares[x].push(computed(gradient, back));
                    }
                });
            }
            Operation::Product(a, b) => {
                self.forward.push(product::forward(between(*a), place(*b)));
                let turned = self.buffer(product::transposed(net.maps[*b]));
                let backs = [
                    (*a, product::back_of_left(place(*b), turned)),
                    (*b, product::back_of_right(place(*a))),
                ];
                return Box::new(move |gradient, shares| {
                    for (x, back) in backs {
                        shares[x].push(computed(gradient, back));
                    }
                });
            }
        };
        self.forward.push(kernel);
        Box::new(move |gradient, shares| shares[x].push(computed(gradient, back)))
    }

    fn join(
        &mut self,
        net: &Builder,
        parts: &[usize],
        place: &dyn Fn(usize) -> Buffer,
        to: Buffer,
    ) -> Undo {
        let from = parts.iter().map(|p| place(*p)).collect();
        self.forward.push(Box::new(Join { from, to }));
        let mut firsts = Vec::new();
        let mut first = 0;
        for part in parts {
            firsts.push((*part, first));
            first += net.maps[*part].channels;
        }
        Box::new(move |gradient, shares| {
            for (part, first) in firsts {
                let back: Back = Box::new(move |from, to, epilogue| {
                    Box::new(Part {
                        from,
                        first,
                        to,
                        epilogue,
                    })
                });
                shares[part].push(computed(gradient, back));
            }
        })
    }
}

/// Adds shares of the gradients of a step's inputs, given the gradient of what it computes.
type Undo = Box<dyn FnOnce(Buffer, &mut Vec<Vec<Share>>)>;

/// A share that a kernel computes from the output's gradient.
fn computed(gradient: Buffer, back: Back) -> Share {
    Share::Computed(Box::new(move |to, epilogue| back(gradient, to, epilogue)))
}

/// A value as it is, for the sake of an epilogue.
fn as_it_is(from: Buffer, to: Buffer, map: Map, epilogue: Epilogue) -> Channelwise {
    let phase: Phase = Window::from([1, 1]).forward([map.height, map.width]);
    Channelwise {
        from,
        to,
        input: map,
        phases: [Taps::new(phase, map, |_, _| 1.0)].into(),
        epilogue,
    }
}
