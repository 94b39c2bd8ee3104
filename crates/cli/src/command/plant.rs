use std::path::Path;

use proofmark::backdoor::plant::{self, Plant as Planter, Poisoned, Triggered};
use proofmark::data::ndarray::ArrayD;
use proofmark::data::npz::{self, GROUP, NpzArray, ORIGINAL};
use proofmark::data::{self, Dataset};
use proofmark::domain::Seed;

use super::save::{array, bounds, shape};
use crate::args::plant::Plant;
use crate::args::{assignment, toml_value};
use crate::failure::Failure;
use crate::output;

/// Runs `proofmark plant` and returns the exit code.
pub(crate) fn run(args: &Plant, quiet: bool) -> Result<u8, Failure> {
    let planter = planter(args)?;
    let options = args.reading.read()?;
    let target = |flag, path: &Path| output::target(flag, path).map(output::Target::File);
    let out = target("--out", &args.out)?;
    let triggered = args.triggered.as_deref();
    let triggered = triggered.map(|p| target("--triggered", p)).transpose()?;
    output::apart(
        &[("--out", Some(&out)), ("--triggered", triggered.as_ref())],
        || {
            let mut read = output::data_files("the data", &args.data, &options);
            let test = args.test.iter();
            read.extend(test.flat_map(|t| output::data_files("--test", t, &options)));
            read
        },
    )?;
    let set = data::open(&args.data, &options)?;
    let test = args.test.as_ref();
    let test = test.map(|t| data::open(t, &options)).transpose()?;
    let seed = Seed(args.seed);
    let planted = plant::poison(&*planter, &set, args.rate, args.target, seed)?;
    let tested = triggered
        .as_ref()
        .map(|_| {
            let from = test.as_ref().unwrap_or(&set);
            plant::triggered(&*planter, from, args.target, seed, Some(planted.classes))
        })
        .transpose()?;
    // Both are made before either is written.
    write_poisoned(&out.binary("--out")?, &planted)?;
    if let (Some(to), Some(tested)) = (triggered, &tested) {
        write_triggered(&to.binary("--triggered")?, tested)?;
    }
    if !quiet {
        for line in said(&*planter, args, &set, &planted, tested.as_ref()) {
            output::tell(&line);
        }
    }
    Ok(0)
}

/// Builds the planter from its parameters.
fn planter(args: &Plant) -> Result<Box<dyn Planter>, Failure> {
    let mut table = toml::Table::new();
    for text in &args.set {
        let (id, field, value) = assignment(text)?;
        if id != args.planter {
            return Err(Failure(format!(
                "--set {text}: planter `{id}` is not the one named, {}",
                args.planter
            )));
        }
        table.insert(field.to_owned(), toml_value(value));
    }
    Ok(plant::build(&args.planter, &table)?)
}

/// Returns what was done, in words.
fn said(
    planter: &dyn Planter,
    args: &Plant,
    set: &Dataset,
    planted: &Poisoned,
    tested: Option<&Triggered>,
) -> Vec<String> {
    let (count, n) = (planted.count(), set.len());
    let goal = args.target.map_or_else(
        || "each class to the next".to_owned(),
        |t| format!("target {t}"),
    );
    let covers = planted.cover.iter().filter(|c| **c).count();
    let covers = match covers {
        0 => String::new(),
        n => format!(", {n} covers"),
    };
    let mut lines = vec![format!(
        "{}, {goal}: {count} of {n} samples poisoned ({:.3} %){covers}: {}",
        planter.meta().id,
        100.0 * count as f64 / n as f64,
        args.out.display()
    )];
    if let (Some(tested), Some(path)) = (tested, &args.triggered) {
        lines.push(format!(
            "{} test samples with the trigger: {}",
            tested.expected.len(),
            path.display()
        ));
    }
    let kinds = set.modalities.iter().map(|c| &c.modality);
    for input in kinds.filter(|m| m.kind == proofmark::domain::Kind::Audio) {
        lines.push(format!(
            "note: `{}` holds sound; read the file with `--kind audio`",
            input.name
        ));
    }
    lines
}

fn write_poisoned(path: &Path, planted: &Poisoned) -> Result<(), Failure> {
    let n = planted.set.len();
    let flags = |flags: &[bool]| array(flags.iter().map(|f| i64::from(*f)).collect(), &[n]);
    let labels = |labels: &[usize]| array(labels.iter().map(|l| *l as i64).collect(), &[n]);
    let more = [
        (format!("{GROUP}poisoned"), flags(&planted.poisoned)?),
        (format!("{GROUP}cover"), flags(&planted.cover)?),
        (format!("{ORIGINAL}y"), labels(&planted.original_labels)?),
    ];
    write(path, &planted.set, &more)
}

fn write_triggered(path: &Path, tested: &Triggered) -> Result<(), Failure> {
    let expected = tested.expected.iter().map(|e| *e as i64).collect();
    let expected = array(expected, &[tested.expected.len()])?;
    write(path, &tested.set, &[(format!("{GROUP}expected"), expected)])
}

/// Writes a set, its labels, ids, bounds and groups, and further arrays of whole numbers.
fn write(path: &Path, set: &Dataset, more: &[(String, ArrayD<i64>)]) -> Result<(), Failure> {
    let mut floats: Vec<(String, ArrayD<f32>)> = Vec::new();
    for column in &set.modalities {
        let name = &column.modality.name;
        let values = column.values.iter().copied().collect();
        floats.push((name.clone(), array(values, &shape(column, set.len()))?));
        floats.push((format!("bounds_{name}"), bounds(&column.modality)?));
    }
    if let Some(eps) = &set.eps {
        floats.push(("eps".to_owned(), eps.clone().into_dyn()));
    }
    let labels = set.labels.as_deref().unwrap_or_default();
    let labels = array(
        labels.iter().map(|l| *l as i64).collect::<Vec<i64>>(),
        &[set.len()],
    )?;
    let mut groups = Vec::new();
    for (name, values) in &set.groups {
        groups.push((
            format!("{GROUP}{name}"),
            array(values.clone(), &[set.len()])?,
        ));
    }
    let mut arrays: Vec<(&str, NpzArray<'_>)> = Vec::new();
    let named = floats.iter();
    arrays.extend(named.map(|(n, a)| (n.as_str(), NpzArray::F32(a.view()))));
    arrays.push(("y", NpzArray::I64(labels.view())));
    arrays.extend(
        more.iter()
            .map(|(n, a)| (n.as_str(), NpzArray::I64(a.view()))),
    );
    // Poisoning a poisoned set replaces its marks.
    let kept = groups
        .iter()
        .filter(|(n, _)| more.iter().all(|(m, _)| m != n));
    arrays.extend(kept.map(|(n, a)| (n.as_str(), NpzArray::Text(a.view()))));
    arrays.push(("id", NpzArray::Ids(&set.ids)));
    Ok(npz::write(path, &arrays)?)
}
