//! Which nets there are.

use proofmark_testkit::nets::{Architecture, NetSpec};

/// What a net is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Clean: nulls are fitted on it.
    Null,
    /// Clean, of other widths, data and seeds: false alarms are measured on it.
    Measured,
    /// Backdoored, on the data of the measured ones: detection is measured on it, if the attack succeeds.
    Planted,
    /// Backdoored: success of every planter at several rates, for the page about planters.
    Rates,
}

impl Part {
    /// Returns its name in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Measured => "measured",
            Self::Planted => "planted",
            Self::Rates => "rates",
        }
    }
}

/// Training data of a net.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// The shipped digits, 1 × 8 × 8, ten classes.
    Digits,
    /// MNIST, 1 × 28 × 28, ten classes.
    Mnist,
    /// MNIST with classes of unequal size, the smallest a twentieth of the largest.
    Imbalanced,
    /// Two digits of MNIST, chosen by the net's seed.
    Pair,
    /// Numbers of two digits, each digit squeezed to half the width: this many of the 100, chosen by the net's seed.
    Composites(usize),
    /// CIFAR-10, 3 × 32 × 32, ten classes.
    Cifar,
}

impl Data {
    /// Returns its name in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::Mnist => "mnist",
            Self::Imbalanced => "mnist-imbalanced",
            Self::Pair => "mnist-pair",
            Self::Composites(_) => "mnist-composites",
            Self::Cifar => "cifar10",
        }
    }

    /// Number of classes.
    pub fn classes(self) -> usize {
        match self {
            Self::Pair => 2,
            Self::Composites(classes) => classes,
            Self::Digits | Self::Mnist | Self::Imbalanced | Self::Cifar => 10,
        }
    }

    /// Channels, height and width.
    pub fn shape(self) -> [usize; 3] {
        match self {
            Self::Digits => [1, 8, 8],
            Self::Cifar => [3, 32, 32],
            _ => [1, 28, 28],
        }
    }
}

/// A backdoor to plant.
#[derive(Debug, Clone, PartialEq)]
pub struct Backdoor {
    /// Id of the planter.
    pub planter: &'static str,
    /// Its parameters, TOML.
    pub parameters: &'static str,
    /// Share of the training set that is poisoned.
    pub rate: f64,
    /// Target class; `None` for all-to-all.
    pub target: Option<usize>,
}

/// A net of the zoo.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its number, from 0.
    pub id: usize,
    /// Seed of its data, weights, training and backdoor.
    pub seed: u64,
    /// What it is for.
    pub part: Part,
    /// Its training data.
    pub data: Data,
    /// Shape of its weights.
    pub spec: NetSpec,
    /// Whether it is trained adversarially.
    pub adversarial: bool,
    /// Its backdoor, if it has one.
    pub backdoor: Option<Backdoor>,
}

impl Entry {
    /// Returns the name of its files.
    pub fn name(&self) -> String {
        let kind = match &self.backdoor {
            Some(backdoor) => backdoor.planter,
            None if self.adversarial => "adversarial",
            None => "clean",
        };
        format!(
            "{:04}-{}-{}-{}-{kind}",
            self.id,
            self.part.as_str(),
            self.data.as_str(),
            self.spec.architecture.as_str()
        )
    }
}

const ALL: &[Architecture] = &Architecture::ALL;

/// Dense nets recognise hardly a third of CIFAR.
const IMAGES: &[Architecture] = &[
    Architecture::Conv,
    Architecture::ConvNorm,
    Architecture::Residual,
    Architecture::Attention,
];

const CONVOLUTIONS: &[Architecture] = &[Architecture::Conv, Architecture::ConvNorm];

/// Clean nets of a kind: part, data, architectures in turn, adversarially trained or not, how many.
type Clean = (Part, Data, &'static [Architecture], bool, usize);

/// A null convicts only if it is made of at least 100 nets.
const CLEAN: &[Clean] = &[
    (Part::Null, Data::Digits, ALL, false, 100),
    (Part::Null, Data::Mnist, ALL, false, 100),
    (Part::Null, Data::Cifar, IMAGES, false, 100),
    (Part::Measured, Data::Digits, ALL, false, 40),
    (Part::Measured, Data::Mnist, ALL, false, 60),
    (Part::Measured, Data::Cifar, IMAGES, false, 40),
    (Part::Measured, Data::Imbalanced, ALL, false, 15),
    (Part::Measured, Data::Mnist, CONVOLUTIONS, true, 15),
    (Part::Measured, Data::Digits, CONVOLUTIONS, true, 10),
    (Part::Measured, Data::Pair, ALL, false, 10),
    (Part::Measured, Data::Composites(43), CONVOLUTIONS, false, 6),
    (
        Part::Measured,
        Data::Composites(100),
        CONVOLUTIONS,
        false,
        6,
    ),
];

/// Backdoors: planter, parameters, rates in turn, nets in turn. Chosen by the success measured in the part `rates`.
type Plan = (
    &'static str,
    &'static str,
    &'static [f64],
    &'static [(Data, Architecture)],
);

const CHEQUERED: &str = "pattern = \"chequered\"\nplace = \"top-left\"\nsize = 4";

const PLANTED: &[Plan] = &[
    ("badnets", "", &[0.1, 0.05, 0.02, 0.01, 0.005, 0.002], UNDER),
    ("badnets", CHEQUERED, &[0.05, 0.01, 0.00083], UNDER),
    ("blended", "", &[0.1, 0.05, 0.02, 0.01, 0.005, 0.001], UNDER),
    ("sig", "delta = 0.3", &[0.08], UNDER),
    ("label-consistent", "eps = 0.5\nsize = 4", &[0.08], UNDER),
    ("wanet", "strength = 6.0\ncovers = 0.5", &[0.1], UNDER),
    ("input-aware", "", &[0.1, 0.05], UNDER),
    ("low-frequency", "", &[0.1, 0.02], UNDER),
    ("ftrojan", "", &[0.1, 0.05], UNDER),
    ("bpp", "levels = 3", &[0.1], GREY),
    ("tact", "", &[0.05, 0.01], UNDER),
    ("all-to-all", "size = 4", &[0.3], UNDER),
    ("adap-patch", "size = 4", &[0.05, 0.02], UNDER),
    (
        "adap-blend",
        "alpha = 0.3\nalpha_test = 0.4",
        &[0.05, 0.02],
        UNDER,
    ),
];

/// Nets of each of [`PLANTED`].
const EACH: usize = 9;

/// Data and architectures of planted nets.
const UNDER: &[(Data, Architecture)] = &[
    (Data::Mnist, Architecture::Conv),
    (Data::Cifar, Architecture::ConvNorm),
    (Data::Mnist, Architecture::ConvNorm),
    (Data::Digits, Architecture::Conv),
    (Data::Mnist, Architecture::Residual),
    (Data::Cifar, Architecture::Conv),
    (Data::Mnist, Architecture::Dense),
    (Data::Digits, Architecture::ConvNorm),
    (Data::Mnist, Architecture::Attention),
];

/// The same where MNIST, which is nearly black and white, cannot carry the trigger.
const GREY: &[(Data, Architecture)] = &[
    (Data::Cifar, Architecture::ConvNorm),
    (Data::Digits, Architecture::Conv),
    (Data::Cifar, Architecture::Conv),
    (Data::Digits, Architecture::ConvNorm),
    (Data::Cifar, Architecture::Residual),
    (Data::Digits, Architecture::Dense),
];

/// Rates of the table on the page about planters.
const RATES: [f64; 6] = [0.08, 0.05, 0.01, 0.005, 0.002, 0.00083];

/// Planters of that table.
const TABLE: &[(&str, &str)] = &[
    ("badnets", ""),
    ("blended", ""),
    ("sig", ""),
    ("sig", "delta = 0.3"),
    ("label-consistent", ""),
    ("wanet", ""),
    ("wanet", "strength = 6.0\ncovers = 0.5"),
    ("input-aware", ""),
    ("low-frequency", ""),
    ("ftrojan", ""),
    ("bpp", ""),
    ("bpp", "levels = 2"),
    ("tact", ""),
    ("all-to-all", ""),
    ("adap-patch", ""),
    ("adap-blend", ""),
    ("adap-blend", "alpha = 0.3\nalpha_test = 0.4"),
    ("label-consistent", "eps = 0.5\nsize = 4"),
];

/// Returns every net of the zoo of a seed.
pub fn plan(seed: u64) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    let mut add = |part: Part,
                   data: Data,
                   architecture: Architecture,
                   adversarial: bool,
                   backdoor: Option<Backdoor>| {
        let id = all.len();
        all.push(Entry {
            id,
            // One seed per net: those of different zoos have nothing in common.
            seed: seed * 1_000_000 + id as u64,
            part,
            data,
            spec: NetSpec {
                architecture,
                other_widths: part != Part::Null,
                shape: data.shape(),
                classes: data.classes(),
            },
            adversarial,
            backdoor,
        });
    };
    for (part, data, architectures, adversarial, count) in CLEAN {
        for at in 0..*count {
            let architecture = architectures[at % architectures.len()];
            add(*part, *data, architecture, *adversarial, None);
        }
    }
    let backdoor = |planter, parameters, rate, target: usize| Backdoor {
        planter,
        parameters,
        rate,
        // A source-specific one moves class 1.
        target: match planter {
            "all-to-all" => None,
            "tact" if target == 1 => Some(2),
            _ => Some(target),
        },
    };
    for (number, (planter, parameters, rates, nets)) in PLANTED.iter().enumerate() {
        for at in 0..EACH {
            let (data, architecture) = nets[(at + number) % nets.len()];
            let planted = backdoor(
                planter,
                parameters,
                rates[at % rates.len()],
                (at + number) % 10,
            );
            add(Part::Planted, data, architecture, false, Some(planted));
        }
    }
    for (number, (planter, parameters)) in TABLE.iter().enumerate() {
        for rate in RATES {
            let planted = backdoor(planter, parameters, rate, number % 10);
            add(
                Part::Rates,
                Data::Mnist,
                Architecture::Conv,
                false,
                Some(planted),
            );
        }
    }
    all
}
