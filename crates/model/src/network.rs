use burn::tensor::Tensor;
use proofmark_kernels::Program;
use proofmark_threat::Batch;

use crate::access::{
    Access, DecisionModel, Gradient, GradientModel, Objective, Output, ScoreModel, Signature,
    UNKNOWN,
};
use crate::{ModelError, Query, boundary};

/// A forward pass on tensors, in evaluation mode: the only trait that a differentiable model must implement.
///
/// The blocks of `query.x` may be tracked by autodiff; the gradient flows through the tensor operations. Every
/// `Network` is a [`DecisionModel`], a [`ScoreModel`] and a [`GradientModel`].
pub trait Network: Send + Sync {
    /// Returns the model's description, without a query.
    fn signature(&self) -> &Signature;

    /// Returns logits `[q, classes]`. A panic in this method is caught and becomes an error.
    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError>;

    /// Returns the sample-forwards that one point costs.
    fn cost(&self) -> u64 {
        1
    }

    /// Returns the operations that compute the logits from a row in data units, for bounds on them, or why they are not
    /// known.
    fn program(&self) -> Result<Program, String> {
        Err(UNKNOWN.to_owned())
    }
}

impl<N: Network + ?Sized> Network for Box<N> {
    fn signature(&self) -> &Signature {
        Network::signature(self.as_ref())
    }

    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        self.as_ref().forward(query)
    }

    fn cost(&self) -> u64 {
        Network::cost(self.as_ref())
    }

    fn program(&self) -> Result<Program, String> {
        Network::program(self.as_ref())
    }
}

impl<N: Network + ?Sized> Network for &N {
    fn signature(&self) -> &Signature {
        Network::signature(*self)
    }

    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        (**self).forward(query)
    }

    fn cost(&self) -> u64 {
        Network::cost(*self)
    }

    fn program(&self) -> Result<Program, String> {
        Network::program(*self)
    }
}

fn checked_forward(network: &impl Network, query: &Query) -> Result<Tensor<2>, ModelError> {
    let signature = Network::signature(network);
    let scores = network.forward(query)?;
    let (rows, classes) = (query.len(), signature.classes);
    if scores.dims() == [rows, classes] {
        Ok(scores)
    } else {
        Err(ModelError::OutputShape {
            model: signature.name.clone(),
            given: scores.dims().to_vec(),
            rows,
            classes,
        })
    }
}

impl<N: Network> DecisionModel for N {
    fn signature(&self) -> &Signature {
        Network::signature(self)
    }

    fn access(&self) -> Access<'_> {
        Access::Gradients(self)
    }

    fn decide(&self, query: &Query) -> Result<Output, ModelError> {
        self.scores(query).map(Output::Scores)
    }

    fn cost(&self) -> u64 {
        Network::cost(self)
    }

    fn program(&self) -> Result<Program, String> {
        Network::program(self)
    }
}

impl<N: Network> ScoreModel for N {
    fn scores(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        boundary::guarded(&Network::signature(self).name, || {
            checked_forward(self, query)
        })
    }
}

impl<N: Network> GradientModel for N {
    fn gradient(&self, query: &Query, objective: &Objective<'_>) -> Result<Gradient, ModelError> {
        let signature = Network::signature(self);
        boundary::guarded(&signature.name, || {
            let x = query.x.map(|b| b.autodiff().require_grad());
            let tracked = query.with_x(x);
            let scores = checked_forward(self, &tracked)?;
            let loss = objective(&scores, &tracked.x);
            let plain = (scores.inner(), loss.clone().inner());
            // A constant output has no graph: its gradient is zero everywhere, which the trust checks report.
            if !loss.is_tracked() {
                let gradient = query.x.map(|b| b.zeros_like());
                return Ok(Gradient {
                    scores: plain.0,
                    loss: plain.1,
                    gradient,
                });
            }
            let gradients = loss.sum().backward();
            let blocks = tracked
                .x
                .blocks()
                .iter()
                .map(|b| {
                    b.grad(&gradients)
                        .unwrap_or_else(|| b.clone().inner().zeros_like())
                })
                .collect();
            let gradient = Batch::new(query.x.modalities().clone(), blocks)?;
            Ok(Gradient {
                scores: plain.0,
                loss: plain.1,
                gradient,
            })
        })
    }
}
