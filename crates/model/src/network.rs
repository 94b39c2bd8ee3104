use burn::tensor::Tensor;
use proofmark_domain::Needs;
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

    /// Returns the activations `[q, width]` from which the last linear layer computes the scores, differentiable in the
    /// points as [`Network::forward`] is. `None` if the model does not show them; then [`Signature::penultimate`] is
    /// empty, too. The trust checks plant adversarials behind them.
    fn penultimate(&self, query: &Query) -> Result<Option<Tensor<2>>, ModelError> {
        let _ = query;
        Ok(None)
    }

    /// Returns the most that the model gives: gradients, unless no operation on the way to its scores has any, as in a
    /// decision tree.
    fn gives(&self) -> Needs {
        Needs::Gradients
    }

    /// Returns the sample-forwards that one point costs.
    fn cost(&self) -> u64 {
        1
    }

    /// Returns a model with twice as many outputs: first the scores of this one, then as many that also tell scores
    /// apart which are equal here. Its gradients are those of a model without steps. `None` if this model has no steps.
    fn smoothed(&self) -> Option<&dyn GradientModel> {
        None
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

    fn penultimate(&self, query: &Query) -> Result<Option<Tensor<2>>, ModelError> {
        Network::penultimate(self.as_ref(), query)
    }

    fn gives(&self) -> Needs {
        Network::gives(self.as_ref())
    }

    fn cost(&self) -> u64 {
        Network::cost(self.as_ref())
    }

    fn smoothed(&self) -> Option<&dyn GradientModel> {
        Network::smoothed(self.as_ref())
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

    fn penultimate(&self, query: &Query) -> Result<Option<Tensor<2>>, ModelError> {
        Network::penultimate(*self, query)
    }

    fn gives(&self) -> Needs {
        Network::gives(*self)
    }

    fn cost(&self) -> u64 {
        Network::cost(*self)
    }

    fn smoothed(&self) -> Option<&dyn GradientModel> {
        Network::smoothed(*self)
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
        match self.gives() {
            Needs::Gradients => Access::Gradients(self),
            Needs::Scores => Access::Scores(self),
            Needs::Decisions => Access::Decisions(self),
        }
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
    fn smoothed(&self) -> Option<&dyn GradientModel> {
        Network::smoothed(self)
    }

    fn penultimate(&self, query: &Query) -> Result<Option<Tensor<2>>, ModelError> {
        let name = &Network::signature(self).name;
        let found = boundary::guarded(name, || Network::penultimate(self, query))?;
        match found.as_ref().map(Tensor::dims) {
            Some([rows, width]) if rows != query.len() || width == 0 => {
                Err(ModelError::Signature {
                    model: name.clone(),
                    problem: format!(
                        "activations [{rows}, {width}] before its last layer for {} points; expected a row of at least one number each",
                        query.len()
                    ),
                })
            }
            _ => Ok(found),
        }
    }

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
