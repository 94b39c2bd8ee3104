use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use proofmark::data::{self, Dataset, Rows};
use proofmark::domain::{Coupling, Criteria, Epsilon, MapSpec, Norm, Seed};
use proofmark::engine;
use proofmark::models::wrap::Surrogate;
use proofmark::policy::chart;
use proofmark::policy::render::{self, Document};
use proofmark::policy::{Metric, assess};
use proofmark::{
    Access, Certificate, Labels, ModelSource, OpenModel, RunPlan, Surrogates, ThreatPlan,
};
use serde_json::json;

use super::save::Saving;
use super::{colour, width};
use crate::args::attack::{Attack, LabelsArg};
use crate::clock;
use crate::failure::Failure;
use crate::output::{self, Target};
use crate::progress::TerminalProgress;
use crate::signals;

/// Confidence of `--fail-under`.
const LEVEL: f64 = 0.95;

/// Runs `proofmark attack` and returns the exit code.
pub(crate) fn run(args: &Attack, quiet: bool) -> Result<u8, Failure> {
    let criteria = checked(args)?;
    let (attacks, certificates) = methods(args, &criteria)?;
    let threats = threats(args)?;
    let data = dataset(args, &criteria, quiet)?;
    let OpenModel {
        model,
        preprocessing,
        reading,
        notes,
        ..
    } = model(args, &criteria, &data)?;
    let surrogates = surrogates(args, &criteria, &data)?;
    if !quiet {
        let of_surrogates = surrogates.iter().flat_map(Surrogates::notes);
        for note in notes.into_iter().chain(of_surrogates) {
            output::tell(&format!("note: {note}"));
        }
    }
    let source = surrogates.as_ref().map(Surrogates::source).transpose()?;
    let guided = source
        .as_ref()
        .map(|s| Surrogate::new(model.as_ref(), s.as_ref()))
        .transpose()?
        .map(|s| if args.transfer { s.transfer() } else { s });
    let access = guided.as_ref().map_or(model.access(), Access::from);
    let Written { out, saved, plot } = written(args)?;
    let shown = TerminalProgress::new(quiet);
    let mut plan = RunPlan::new(access, &data, &attacks, threats);
    plan.map = args.map;
    plan.certificates = &certificates;
    plan.labels = match args.labels {
        LabelsArg::Given => Labels::Given,
        LabelsArg::Predicted => Labels::Predicted,
    };
    plan.criterion = criteria;
    plan.target = args.targeted.as_deref().map(str::parse).transpose()?;
    plan.settings.seed = Seed(args.seed);
    plan.settings.batch = args.batch_size;
    plan.settings.compaction = !args.no_compaction;
    plan.settings.forwards = args.forwards;
    plan.shard = args.shard;
    plan.preprocessing = preprocessing;
    plan.reading = reading;
    plan.selection.insert("limit".to_owned(), json!(args.limit));
    plan.selection.insert("range".to_owned(), json!(args.range));
    plan.stop = &signals::interrupted;
    plan.clock = &clock::seconds;
    plan.progress = &shown;
    let measured = plan.run();
    shown.finish();
    if signals::interrupted() {
        output::tell("interrupted: nothing was written");
        return Ok(signals::INTERRUPTED);
    }
    let measured = measured?;
    if let Some(path) = &saved {
        let saving = Saving {
            data: &data,
            measured: &measured,
            signature: model.signature(),
            map: args.map,
            per_sample_eps: args.per_sample_eps,
            originals: args.save_originals,
        };
        saving.write(path)?;
    }
    if let Some(path) = &out {
        output::write_report_to(path, &measured.report)?;
    }
    if let Some(target) = &plot {
        output::write_text(target, &chart::curve_svg(&measured.report))?;
    }
    if !quiet {
        output::tell(&render::table(Document::Attack(&measured.report), colour()));
        if let Some(curve) = chart::curve_text(&measured.report, width()) {
            output::tell(&curve);
        }
        if args.beside.per_class {
            output::tell(&chart::by_class(&measured.report));
        }
    }
    // The results are written first; a run that lacks the result of an attack is then an error.
    measured.complete()?;
    let Some(threshold) = args.fail_under else {
        return Ok(0);
    };
    let assessment = assess(&measured.report, Metric::RobustAccuracy, threshold, LEVEL);
    output::tell(&format!("{}: {}", assessment.verdict, assessment.message));
    Ok(assessment.verdict.exit_code())
}

/// Refuses arguments that contradict each other, before anything is opened, and reads the criterion.
fn checked(args: &Attack) -> Result<Criteria, Failure> {
    if let Some(map) = args.map.filter(|_| args.attacks.is_empty()) {
        return Err(Failure(format!(
            "--map {}: the default suite is for changed values; expected --attack, such as {}",
            map.name(),
            match map {
                MapSpec::Spatial { .. } => "grid or pgd",
                _ => "uap-pgd, or apgd with --set apgd.eot=10",
            }
        )));
    }
    if let Some(f) = args.fail_under.filter(|f| !(0.0..=1.0).contains(f)) {
        return Err(Failure(format!(
            "--fail-under {f}; expected a share from 0 to 1"
        )));
    }
    if ids(args).is_empty() && args.fail_under.is_some() {
        return Err(Failure(
            "--fail-under is about accuracy under attack, and there is no --attack; certified_accuracy is gated by a policy".into(),
        ));
    }
    let at_least_one = [
        ("batch-size", Some(args.batch_size as u64)),
        ("forwards", args.forwards),
    ];
    if let Some((flag, _)) = at_least_one.iter().find(|(_, n)| *n == Some(0)) {
        return Err(Failure(format!("--{flag} 0; expected at least 1")));
    }
    let criteria = Criteria::parse(args.criterion.iter().map(String::as_str))
        .map_err(|e| Failure(format!("--criterion: {e}")))?;
    if args.beside.per_class && !criteria.outputs().is_classes() {
        return Err(Failure(format!(
            "--per-class: criterion `{criteria}` is about {}, so samples have no class; leave one of them out",
            criteria.outputs()
        )));
    }
    Ok(criteria)
}

/// Where a run writes.
struct Written {
    out: Option<Target>,
    saved: Option<PathBuf>,
    plot: Option<Target>,
}

/// Returns where report, samples and curve are written; refuses to overwrite what is read.
fn written(args: &Attack) -> Result<Written, Failure> {
    let target = |flag, path: &Option<PathBuf>| {
        let target = path.as_deref().map(|p| output::text_target(flag, p));
        target.transpose()
    };
    let (out, saved) = (target("--out", &args.out)?, target("--save", &args.save)?);
    let plot = target("--plot", &args.beside.plot)?;
    let beside = out.as_ref().and_then(Target::file).map(output::samples_of);
    let beside = beside.map(Target::File);
    let written = [
        ("--out", out.as_ref()),
        ("--save", saved.as_ref()),
        ("--plot", plot.as_ref()),
        ("the samples beside --out", beside.as_ref()),
    ];
    let options = args.reading.read()?;
    output::apart(&written, || {
        let mut read = output::model_files(&args.model);
        read.extend(args.surrogate.iter().flat_map(|s| output::model_files(s)));
        read.extend(output::data_files("--data", &args.data, &options));
        read
    })?;
    let saved = saved.map(|t| t.binary("--save")).transpose()?;
    Ok(Written { out, saved, plot })
}

/// What a run carries out.
type Methods = (Vec<Box<dyn engine::Attack>>, Vec<Certificate>);

/// Whether nothing is named, so that the default suite runs.
const fn is_default(args: &Attack) -> bool {
    args.attacks.is_empty() && args.certify.is_empty()
}

/// Returns the ids of the attacks: those named, or the default suite.
fn ids(args: &Attack) -> Vec<&str> {
    if is_default(args) {
        return vec!["proofmark"];
    }
    args.attacks.iter().map(String::as_str).collect()
}

/// What an error adds about attacks that the user did not name.
const fn unnamed(args: &Attack) -> &'static str {
    if is_default(args) {
        " (the default suite, whose parameters are fixed); name others, as in --attack pgd"
    } else {
        ""
    }
}

/// Builds the requested attacks and certificates; each attack gets the shared flags that it has parameters for.
fn methods(args: &Attack, criteria: &Criteria) -> Result<Methods, Failure> {
    let ids = ids(args);
    let mut tables: BTreeMap<&str, toml::Table> = BTreeMap::new();
    for id in &ids {
        tables.insert(id, toml::Table::new());
    }
    let shared = [
        ("steps", args.steps.map(|v| toml::Value::Integer(v.into()))),
        ("step_size", args.step_size.map(toml::Value::Float)),
        (
            "restarts",
            args.restarts.map(|v| toml::Value::Integer(v.into())),
        ),
        ("loss", args.loss.clone().map(toml::Value::String)),
    ];
    for (field, value) in shared {
        let Some(value) = value else { continue };
        let mut taken = false;
        for (id, table) in &mut tables {
            let known = proofmark::attacks::build(id, &toml::Table::new())?.parameters();
            if known.contains_key(field) {
                table.insert(field.to_owned(), value.clone());
                taken = true;
            }
        }
        if !taken {
            let flag = field.replace('_', "-");
            return Err(Failure(format!(
                "--{flag}: none of {} has {field}{}",
                ids.join(", "),
                unnamed(args)
            )));
        }
    }
    for id in &args.certify {
        if tables.insert(id, toml::Table::new()).is_some() {
            return Err(Failure(format!(
                "--certify {id}: given twice, or an attack; expected one of {}",
                Certificate::ids().join(", ")
            )));
        }
    }
    for assignment in &args.set {
        let (id, field, value) = crate::args::assignment(assignment)?;
        let table = tables.get_mut(id).ok_or_else(|| {
            let certify = args.certify.iter().map(String::as_str);
            let all: Vec<&str> = ids.iter().copied().chain(certify).collect();
            let kind = if Certificate::ids().contains(&id) {
                "certificate"
            } else {
                "attack"
            };
            Failure(format!(
                "--set {assignment}: {kind} `{id}` is not among {}{}",
                all.join(", "),
                unnamed(args)
            ))
        })?;
        table.insert(field.to_owned(), crate::args::toml_value(value));
    }
    for id in &ids {
        proofmark::refuse_loss(criteria, id, &tables[*id]).map_err(Failure)?;
    }
    let attacks = ids.iter();
    let attacks = attacks.map(|id| Ok(proofmark::attacks::build(id, &tables[*id])?));
    let certificates = args.certify.iter();
    let certificates = certificates.map(|id| Ok(Certificate::build(id, &tables[id.as_str()])?));
    Ok((
        attacks.collect::<Result<_, Failure>>()?,
        certificates.collect::<Result<_, Failure>>()?,
    ))
}

/// Parsed `[MOD=]VALUE` arguments: the value for every input, and the values for single inputs.
struct PerInput<'a> {
    all: Option<&'a str>,
    each: BTreeMap<&'a str, &'a str>,
}

impl<'a> PerInput<'a> {
    fn read(flag: &str, given: &'a [String]) -> Result<Self, Failure> {
        let mut read = Self {
            all: None,
            each: BTreeMap::new(),
        };
        for text in given {
            let twice = match text.split_once('=') {
                Some((input, value)) => read.each.insert(input, value).is_some(),
                None => read.all.replace(text).is_some(),
            };
            if twice {
                return Err(Failure(format!(
                    "--{flag} {text}: given twice for the same input"
                )));
            }
        }
        Ok(read)
    }
}

/// Returns one threat model per position in the lists of epsilons.
fn threats(args: &Attack) -> Result<Vec<ThreatPlan>, Failure> {
    let norms = PerInput::read("norm", &args.norm)?;
    let eps = PerInput::read("eps", &args.eps)?;
    let list = |text: &str| -> Result<Vec<Epsilon>, Failure> {
        text.split(',')
            .map(|e| e.parse().map_err(|e| Failure(format!("--eps: {e}"))))
            .collect()
    };
    if let Some(text) = eps.all.filter(|_| args.per_sample_eps) {
        return Err(Failure(format!(
            "--eps {text}: --per-sample-eps takes every epsilon from the set; drop one of them, or name the input the epsilon is for, --eps INPUT={text}"
        )));
    }
    if let (Some(map), Some(input)) = (&args.map, eps.each.keys().next()) {
        return Err(Failure(format!(
            "--eps {input}=…: with --map {}, epsilon is the share of its limits; expected one without a name",
            map.name()
        )));
    }
    let all = match eps.all {
        None if args.map.is_some() => Some(vec![
            "1".parse().map_err(|e| Failure(format!("--eps: {e}")))?,
        ]),
        // Epsilon 0 would freeze every input that is not named; the set's epsilons replace it.
        None if args.per_sample_eps => Some(vec![Epsilon::default()]),
        text => text.map(list).transpose()?,
    };
    let each: BTreeMap<&str, Vec<Epsilon>> = eps
        .each
        .iter()
        .map(|(input, text)| Ok((*input, list(text)?)))
        .collect::<Result<_, Failure>>()?;
    let count = all
        .iter()
        .chain(each.values())
        .map(Vec::len)
        .max()
        .unwrap_or(0);
    if let Some(odd) = all
        .iter()
        .chain(each.values())
        .find(|l| l.len() != 1 && l.len() != count)
    {
        return Err(Failure(format!(
            "--eps: lists of {} and {count} budgets; expected as many for every input, or one",
            odd.len()
        )));
    }
    let parse = |text: &str| {
        text.parse::<Norm>()
            .map_err(|e| Failure(format!("--norm: {e}")))
    };
    let norm_of = |input: &str| match norms.each.get(input).or(norms.all.as_ref()) {
        Some(text) => parse(text),
        None => Err(Failure(format!(
            "--norm: none for input `{input}`; add --norm {input}=linf"
        ))),
    };
    let at = |l: &Vec<Epsilon>, k: usize| l[if l.len() == 1 { 0 } else { k }].clone();
    (0..count)
        .map(|k| {
            let norm = norms.all.map_or(Ok(Norm::Linf), parse)?;
            // Without a common budget, inputs that are not named are frozen.
            let mut plan = ThreatPlan::new(
                norm,
                all.as_ref().map_or_else(Epsilon::default, |l| at(l, k)),
            );
            for (input, budgets) in &each {
                plan.inputs
                    .insert((*input).to_owned(), (norm_of(input)?, at(budgets, k)));
            }
            for (input, text) in norms.each.iter().filter(|(i, _)| !each.contains_key(*i)) {
                plan.inputs
                    .insert((*input).to_owned(), (parse(text)?, plan.eps.clone()));
            }
            for input in &args.freeze {
                plan.inputs
                    .insert(input.clone(), (Norm::Linf, Epsilon::default()));
            }
            if let Some(q) = args.shared {
                plan.coupling = Coupling::Shared { q };
            }
            plan.per_sample = args.per_sample_eps;
            Ok(plan)
        })
        .collect()
}

/// Opens the model for samples like those of the set.
fn model(args: &Attack, criteria: &Criteria, data: &Dataset) -> Result<OpenModel, Failure> {
    let device = proofmark::device(&args.device)?;
    let mut source = args.onnx.source(&args.model)?;
    source.preprocess = args.preprocess.preprocess();
    source.onnx.outputs = criteria.outputs();
    Ok(source.open(data, &device)?)
}

/// Opens the surrogates for the same samples, with the same preprocessing.
fn surrogates(
    args: &Attack,
    criteria: &Criteria,
    data: &Dataset,
) -> Result<Option<Surrogates>, Failure> {
    if args.surrogate.is_empty() {
        return Ok(None);
    }
    if let (Some(average), [one]) = (args.surrogate_average, args.surrogate.as_slice()) {
        return Err(Failure(format!(
            "--surrogate-average {average}: {one} is the only surrogate; expected several, separated by commas"
        )));
    }
    let device = proofmark::device(&args.device)?;
    let open = |spec: &String| {
        let mut source = ModelSource::new(spec);
        source.preprocess = args.preprocess.preprocess();
        source.onnx.outputs = criteria.outputs();
        source.open(data, &device).map(Arc::new)
    };
    let models = args.surrogate.iter().map(open).collect::<Result<_, _>>()?;
    Ok(Some(Surrogates::new(
        models,
        args.surrogate_average.unwrap_or_default(),
    )?))
}

fn dataset(args: &Attack, criteria: &Criteria, quiet: bool) -> Result<Dataset, Failure> {
    let mut options = args.reading.read()?;
    options.outputs = criteria.outputs();
    options.select.seed = Seed(args.seed);
    options.select.rows = match (args.limit, &args.range) {
        (Some(0), _) => return Err(Failure("--limit 0; expected at least 1 sample".into())),
        (Some(n), _) => Rows::Limit(n),
        (None, Some(text)) => {
            let expected = || {
                Failure(format!(
                    "--range {text}; expected A..B with A below B, such as 0..100"
                ))
            };
            let (a, b) = text.split_once("..").ok_or_else(expected)?;
            let (Ok(a), Ok(b)) = (a.parse(), b.parse()) else {
                return Err(expected());
            };
            Rows::Range(a..b)
        }
        (None, None) => Rows::All,
    };
    let data = data::open(&args.data, &options)?;
    if !quiet {
        for note in &data.read_as.notes {
            output::tell(&format!("note: {}: {note}", data.name));
        }
    }
    if args.per_sample_eps && data.eps.is_none() {
        return Err(Failure(format!(
            "--per-sample-eps: {} has no array `eps`",
            args.data
        )));
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_budgets_are_zipped() {
        let all = ["0.1,0.2".to_owned()];
        let read = PerInput::read("eps", &all).unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(read.all, Some("0.1,0.2"));
        let twice = ["a=1".to_owned(), "a=2".to_owned()];
        assert!(PerInput::read("eps", &twice).is_err());
    }
}
