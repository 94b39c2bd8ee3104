use std::fs;
use std::io::Read as _;
use std::path::Path;

use proofmark::burn::tensor::Device;
use proofmark::data::ndarray::ArrayD;
use proofmark::data::npz::{self, AnyArray, NpzArray};
use proofmark::data::{self, Classes, Options};
use proofmark::domain::{fit, hint};
use proofmark::models::{BurnModel, DecisionModel as _, Features as _, Query, ScoreModel as _};
use proofmark::onnx::{Array, DType, Declared, Dim, Layout, Session};
use proofmark::threats::Batch;
use proofmark::{ModelSource, Preprocess, shipped};

use crate::args::Infer;
use crate::arrays::{Named, assign, plain, written};
use crate::expect::compare;
use crate::failure::Failure;
use crate::output;
use crate::shown::lines;
use crate::signals;

/// Rows per call of a shipped model.
const ROWS: usize = 256;

/// Runs `proofmark infer` and returns the exit code.
pub(crate) fn run(args: &Infer, quiet: bool) -> Result<u8, Failure> {
    if !(args.tol.is_finite() && args.tol >= 0.0) {
        return Err(Failure(format!(
            "--tol {}; expected a number of at least 0",
            args.tol
        )));
    }
    let out = args.out.as_deref();
    let out = out.map(|p| output::text_target("--out", p)).transpose()?;
    let mut options = args.reading.read()?;
    options.unbounded = true;
    let file = args.data.display().to_string();
    output::apart(&[("--out", out.as_ref())], || {
        let mut read = output::model_files(&args.model);
        read.extend(output::data_files("--data", &file, &options));
        read.extend(args.expect.clone().map(|e| ("--expect", e)));
        read
    })?;
    let out = out.map(|t| t.binary("--out")).transpose()?;
    let device = proofmark::device(&args.device)?;
    let model = Model::open(args, &device)?;
    let (data, notes) = read(&args.data, &options)?;
    let expected = args.expect.as_deref().map(npz::arrays).transpose()?;
    let names = model.outputs();
    if let (Some(expected), Some(path)) = (&expected, &args.expect) {
        check_names(path, expected, &names)?;
    }
    // The notes may explain why the arrays do not fit.
    tell(&notes, quiet);
    let (inputs, notes) = assign(&file, data, &model.inputs(), &options)?;
    tell(&notes, quiet);
    let inputs = preprocessed(
        &args.preprocess.preprocess(),
        inputs,
        &model.inputs(),
        &device,
    )?;
    let (inputs, notes) = model.arranged(inputs, args.layout)?;
    tell(&notes, quiet);
    let outputs: Vec<(String, Array)> = names.into_iter().zip(model.run(&inputs)?).collect();
    tell(&model.notes(), quiet);
    if signals::interrupted() {
        output::tell("interrupted: nothing was written");
        return Ok(signals::INTERRUPTED);
    }
    if let Some(path) = &out {
        write(path, &outputs)?;
        if !quiet {
            for (name, array) in &outputs {
                output::tell(&format!("`{name}`: {} {:?}", array.dtype(), array.shape()));
            }
        }
    }
    match expected {
        Some(expected) => judge(&outputs, &expected, args.tol),
        None if out.is_some() => Ok(0),
        None => {
            let all: Vec<String> = outputs.iter().flat_map(|(n, a)| lines(n, a)).collect();
            output::print(&all.join("\n"))?;
            Ok(0)
        }
    }
}

fn tell(notes: &[String], quiet: bool) {
    for note in notes.iter().filter(|_| !quiet) {
        output::tell_note(note);
    }
}

/// Reads arrays by name, with notes on how they were read: arrays of an archive as stored, arrays of any other set in
/// its data units.
fn read(path: &Path, options: &Options) -> Result<(Named, Vec<String>), Failure> {
    let spec = path.display().to_string();
    let ending = |e: &str| spec.to_ascii_lowercase().ends_with(e);
    let begins = fs::File::open(path).and_then(|mut f| {
        let mut first = [0; 2];
        f.read_exact(&mut first).map(|()| first)
    });
    let shipped = data::SHIPPED.contains(&spec.as_str());
    if !shipped && (ending(".npz") || ending(".npy") || begins.is_ok_and(|b| b == *b"PK")) {
        options.refuse_unfit(&spec)?;
        return Ok((npz::arrays(path)?, Vec::new()));
    }
    let mut options = options.clone();
    if !shipped && options.classes.is_none() {
        // Labels are ignored, so the order of the classes does not matter.
        options.classes = Some(Classes::Sorted);
    }
    let set = data::open(&spec, &options)?;
    let rows = set.len();
    let units = set.read_as.units.iter();
    let notes = units.map(|(name, units)| format!("`{name}`: {units}"));
    let notes: Vec<String> = notes.chain(set.read_as.notes.clone()).collect();
    let arrays: Result<Named, Failure> = set
        .modalities
        .into_iter()
        .map(|column| {
            let mut shape = vec![rows];
            shape.extend(&column.modality.shape);
            let values = column.values.into_iter().collect();
            let array = ArrayD::<f32>::from_shape_vec(shape, values)?;
            Ok((column.modality.name, array.into()))
        })
        .collect();
    Ok((arrays?, notes))
}

/// Applies preprocessing to floating-point arrays, with samples along the first axis.
fn preprocessed(
    preprocess: &Preprocess,
    inputs: Vec<Array>,
    declared: &[Declared],
    device: &Device,
) -> Result<Vec<Array>, Failure> {
    if *preprocess == Preprocess::default() {
        return Ok(inputs);
    }
    inputs
        .into_iter()
        .zip(declared)
        .map(|(array, declared)| match array.shape() {
            [_, sample @ ..] if array.dtype().is_float() => {
                let values = preprocess.apply(&declared.name, sample, array.to_f32()?, device)?;
                Ok(Array::try_new(array.shape(), values)?)
            }
            _ => Ok(array),
        })
        .collect()
}

/// Model and requested inner values.
enum Model {
    Onnx(Box<Session>),
    Shipped(Box<BurnModel>, Vec<String>),
}

impl Model {
    fn open(args: &Infer, device: &Device) -> Result<Self, Failure> {
        let mut source = ModelSource::new(&args.model);
        source.fixed = args.fixed.values()?;
        if let Some(model) = shipped::model(&args.model, device) {
            let model = model?;
            args.fixed.refuse(&args.model)?;
            if let Some(name) = args.output.first() {
                return Err(Failure(format!(
                    "--output {name}: model `{}` has one output; leave the option out",
                    args.model
                )));
            }
            let taps = model.taps();
            if let Some(node) = args.node.iter().find(|n| !taps.contains(n)) {
                return Err(Failure(format!(
                    "--node {node}: model `{}` has no such layer{}; its layers are {}",
                    args.model,
                    hint(node, taps.iter().map(String::as_str)),
                    taps.join(", ")
                )));
            }
            return Ok(Self::Shipped(Box::new(model), args.node.clone()));
        }
        let mut chosen: Vec<String> = Vec::new();
        for name in &args.output {
            if !chosen.contains(name) {
                chosen.push(name.clone());
            }
        }
        let mut session = Session::of(source.onnx_file()?, &chosen, device)?;
        for node in &args.node {
            session
                .watch(node)
                .map_err(|e| Failure(format!("--node: {e}")))?;
        }
        Ok(Self::Onnx(Box::new(session)))
    }

    /// Returns notes on how the model was computed.
    fn notes(&self) -> Vec<String> {
        match self {
            Self::Onnx(session) => session.notes(),
            Self::Shipped(..) => Vec::new(),
        }
    }

    fn inputs(&self) -> Vec<Declared> {
        match self {
            Self::Onnx(session) => session.inputs(),
            Self::Shipped(model, _) => {
                let modalities = model.signature().modalities.iter();
                modalities
                    .map(|m| Declared {
                        name: m.name.clone(),
                        dtype: Some(DType::F32),
                        shape: Some(
                            std::iter::once(Dim::Free)
                                .chain(m.shape.iter().map(|n| Dim::Fixed(*n)))
                                .collect(),
                        ),
                    })
                    .collect()
            }
        }
    }

    /// Reshapes arrays to the shapes that the model takes; returns notes on what was changed.
    fn arranged(
        &self,
        mut inputs: Vec<Array>,
        layout: Option<Layout>,
    ) -> Result<(Vec<Array>, Vec<String>), Failure> {
        match self {
            Self::Onnx(session) => Ok(session.arranged(inputs, layout)?),
            Self::Shipped(..) if layout.is_some() => Err(Failure(
                "--layout: the model is no ONNX file, and takes images in one layout only".into(),
            )),
            Self::Shipped(model, _) => {
                let wanted: Vec<Option<usize>> = model.signature().modalities[0]
                    .shape
                    .iter()
                    .copied()
                    .map(Some)
                    .collect();
                let x = &inputs[0];
                if let [rows, sample @ ..] = x.shape()
                    && let Ok(shape) = fit(sample, &wanted)
                {
                    let shape: Vec<usize> = std::iter::once(*rows).chain(shape).collect();
                    inputs[0] = Array::try_new(shape, x.data().clone())?;
                }
                Ok((inputs, Vec::new()))
            }
        }
    }

    fn outputs(&self) -> Vec<String> {
        match self {
            Self::Onnx(session) => session.outputs().into_iter().map(|d| d.name).collect(),
            Self::Shipped(_, taps) => {
                let mut names = vec!["logits".to_owned()];
                names.extend(taps.iter().cloned());
                names
            }
        }
    }

    fn run(&self, inputs: &[Array]) -> Result<Vec<Array>, Failure> {
        match self {
            Self::Onnx(session) => Ok(session.run(inputs)?),
            Self::Shipped(model, taps) => run_shipped(model, taps, &inputs[0]),
        }
    }
}

fn run_shipped(model: &BurnModel, taps: &[String], x: &Array) -> Result<Vec<Array>, Failure> {
    let signature = model.signature();
    let modality = &signature.modalities[0];
    let rows = x.shape().first().copied().unwrap_or(0);
    if rows == 0 || x.shape()[1..] != modality.shape {
        return Err(Failure(format!(
            "input `{}` is given shape {:?}; expected rows of shape {:?}",
            modality.name,
            x.shape(),
            modality.shape
        )));
    }
    let values = x.to_f32()?;
    let taps: Vec<&str> = taps.iter().map(String::as_str).collect();
    let mut all: Vec<Vec<f32>> = vec![Vec::new(); 1 + taps.len()];
    for part in values.chunks(ROWS * modality.features()) {
        let count = part.len() / modality.features();
        let batch = Batch::from_host(
            signature.modalities.clone(),
            vec![part.to_vec()],
            &signature.device,
        )?;
        let query = Query::one_per_row(batch, &(0..count as u64).collect::<Vec<_>>());
        let mut tensors = vec![model.scores(&query)?];
        if !taps.is_empty() {
            tensors.extend(model.features(&query, &taps)?);
        }
        for (all, tensor) in all.iter_mut().zip(tensors) {
            let values = tensor.into_data().try_to_vec::<f32>();
            all.extend(values.map_err(|e| Failure(format!("{e:?}")))?);
        }
    }
    all.into_iter()
        .map(|values| Ok(Array::try_new([rows, values.len() / rows], values)?))
        .collect()
}

fn check_names(
    path: &Path,
    expected: &[(String, AnyArray)],
    outputs: &[String],
) -> Result<(), Failure> {
    let known = || outputs.iter().map(String::as_str);
    let list = known()
        .map(|n| format!("`{n}`"))
        .collect::<Vec<_>>()
        .join(", ");
    let unknown = expected.iter().find(|(name, _)| !outputs.contains(name));
    match unknown {
        Some((name, _)) => Err(Failure(format!(
            "{}: array `{name}` is no output of the model{}; its outputs are {list}",
            path.display(),
            hint(name, known())
        ))),
        None if expected.is_empty() => Err(Failure(format!(
            "{}: holds no arrays; expected some of {list}",
            path.display()
        ))),
        None => Ok(()),
    }
}

fn write(path: &Path, outputs: &[(String, Array)]) -> Result<(), Failure> {
    let arrays = outputs
        .iter()
        .map(|(name, array)| Ok((name.as_str(), written(array)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    let views: Vec<(&str, NpzArray<'_>)> = arrays.iter().map(|(n, a)| (*n, a.view())).collect();
    Ok(npz::write(path, &views)?)
}

/// Prints a line per output; returns 0 if every output that has a reference agrees with it, else 1.
fn judge(
    outputs: &[(String, Array)],
    expected: &[(String, AnyArray)],
    tol: f64,
) -> Result<u8, Failure> {
    let (mut lines, mut code) = (Vec::new(), 0);
    for (name, array) in outputs {
        let Some((_, reference)) = expected.iter().find(|(n, _)| n == name) else {
            lines.push(format!("{name}: no reference"));
            continue;
        };
        let compared = compare(array, &plain(reference)?, tol)
            .map_err(|e| Failure(format!("output `{name}` cannot be compared: {e}")))?;
        let verdict = if compared.agrees {
            "agrees"
        } else {
            code = 1;
            "does not agree"
        };
        lines.push(format!("{name}: {verdict}: {}", compared.summary));
    }
    output::print(&lines.join("\n"))?;
    Ok(code)
}
