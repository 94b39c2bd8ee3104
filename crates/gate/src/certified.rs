//! Figures of certificates, from their outcomes on each sample.

use proofmark_domain::{
    CertificateMeta, CertificateOutcome, CertificateStatus, CertificateSummary, Certifies,
    Interval, Report, SampleRecord,
};
use proofmark_stats::binomial_most;

use crate::proportion::{Proportion, lower, upper};

/// Error left for wrong certificates; the rest is that of the sampling.
const WRONG: f64 = 0.01;

/// Puts the outcomes of a sample in the order of the certificates. One that is missing counts as stopped.
pub(crate) fn align(sample: &mut SampleRecord, certificates: &[CertificateMeta]) {
    let given = std::mem::take(&mut sample.certificates);
    let find = |meta: &CertificateMeta| {
        let own = given.iter().find(|o| o.certificate == meta.key);
        own.cloned().unwrap_or_else(|| CertificateOutcome {
            certificate: meta.key.clone(),
            status: CertificateStatus::Stopped,
            margin: None,
            radius: None,
            class: None,
            votes: None,
            broken: None,
        })
    };
    sample.certificates = certificates.iter().map(find).collect();
}

/// Returns the figures of each certificate; the samples' outcomes are aligned with `certificates`.
pub(crate) fn summaries(
    certificates: Vec<CertificateMeta>,
    samples: &[SampleRecord],
    level: f64,
) -> Vec<CertificateSummary> {
    let summary = |(i, meta): (usize, CertificateMeta)| {
        let count = |status: CertificateStatus| {
            let same = samples
                .iter()
                .filter(|s| s.certificates[i].status == status);
            same.count()
        };
        let (certified, stopped) = (
            count(CertificateStatus::Certified),
            count(CertificateStatus::Stopped),
        );
        let outcomes = || samples.iter().map(|s| &s.certificates[i]);
        let is_attacked = outcomes().any(|o| o.broken.is_some());
        let is_wrong = |o: &&CertificateOutcome| {
            o.broken == Some(true) || o.status == CertificateStatus::Misclassified
        };
        let not_broken = samples.len() - outcomes().filter(is_wrong).count();
        let share = Proportion::new(certified, stopped, samples.len());
        let (ci95, false_at_most) = interval(share, meta.alpha, level);
        CertificateSummary {
            certified,
            n: samples.len(),
            abstained: count(CertificateStatus::Abstained),
            stopped,
            certified_accuracy: share.point(),
            ci95,
            not_broken: is_attacked.then_some(not_broken),
            false_at_most,
            meta,
        }
    };
    certificates.into_iter().enumerate().map(summary).collect()
}

/// Returns the interval of a share of certified samples, and the number of wrong certificates that its lower end allows
/// for; see [`CertificateSummary::ci95`].
fn interval(share: Proportion, alpha: f64, level: f64) -> (Interval, u64) {
    if alpha == 0.0 {
        return (share.interval(level), 0);
    }
    let wrong = binomial_most(share.n, alpha, WRONG * (1.0 - level) / 0.05);
    let sampling = 1.0 - (1.0 - level) * (1.0 - WRONG / 0.05);
    let ends = Interval {
        low: lower(share.hits.saturating_sub(wrong), share.n, sampling),
        high: upper(share.hits + share.unjudged, share.n, sampling),
    };
    (ends, wrong)
}

/// Returns the certificates of the attacked model at the report's largest budget, by index.
pub(crate) fn of_model(report: &Report) -> Vec<usize> {
    let proofs = |i: &usize| report.certified[*i].meta.certifies == Certifies::Model;
    let own: Vec<usize> = (0..report.certified.len()).filter(proofs).collect();
    let eps = |i: &usize| report.certified[*i].meta.threat.eps;
    let most = own.iter().map(eps).fold(0.0, f64::max);
    own.into_iter().filter(|i| eps(i) == most).collect()
}

/// Counts the samples that one of these certificates certifies.
pub(crate) fn counted(sample: &SampleRecord, certificates: &[usize]) -> (bool, bool) {
    let status = |i: &usize| sample.certificates.get(*i).map(|o| o.status);
    let certified = certificates
        .iter()
        .any(|i| status(i) == Some(CertificateStatus::Certified));
    let stopped = certificates
        .iter()
        .any(|i| matches!(status(i), None | Some(CertificateStatus::Stopped)));
    (certified, !certified && stopped)
}

#[cfg(test)]
mod tests {
    use proofmark_domain::{Cost, Norm, RunStatus};

    use super::*;
    use crate::merge;
    use crate::metric::{Counts, Metric};
    use crate::summary::{apart, summarise};
    use crate::trust::fixture::{attack, report, sample, threat};

    fn meta(method: &str, eps: f64, alpha: f64) -> CertificateMeta {
        CertificateMeta {
            key: format!("{method}@linf:{eps}"),
            method: method.into(),
            certifies: if alpha == 0.0 {
                Certifies::Model
            } else {
                Certifies::SmoothedModel
            },
            threat: threat(Norm::Linf, eps),
            parameters: Default::default(),
            alpha,
            cost: Cost::default(),
        }
    }

    /// 100 samples, of which `certified` are.
    fn certified(metas: Vec<CertificateMeta>, certified: &[usize]) -> Report {
        let rows = (0..100).map(|i| sample(i, &[RunStatus::Robust])).collect();
        let (mut head, runs, mut samples) = apart(report(vec![attack("pgd", 0.1)], rows));
        for (i, s) in samples.iter_mut().enumerate() {
            let outcomes = metas
                .iter()
                .zip(certified)
                .map(|(meta, k)| CertificateOutcome {
                    certificate: meta.key.clone(),
                    status: if i < *k {
                        CertificateStatus::Certified
                    } else {
                        CertificateStatus::Open
                    },
                    margin: Some(0.5),
                    radius: None,
                    class: None,
                    votes: None,
                    broken: None,
                });
            s.certificates = outcomes.collect();
        }
        head.certificates = metas;
        summarise(head, runs, samples)
    }

    #[test]
    fn a_proof_has_a_plain_interval() {
        let r = certified(vec![meta("interval", 0.1, 0.0)], &[60]);
        let c = &r.certified[0];
        assert_eq!(
            (c.certified, c.n, c.stopped, c.false_at_most),
            (60, 100, 0, 0)
        );
        assert_eq!(c.ci95, Proportion::new(60, 0, 100).ci95());
    }

    #[test]
    fn a_statement_that_may_be_wrong_has_a_lower_lower_end() {
        let r = certified(vec![meta("smoothing", 0.1, 0.001)], &[60]);
        let c = &r.certified[0];
        // P(Bin(100, 0.001) > 1) = 0.0046.
        assert_eq!(c.false_at_most, 1);
        assert_eq!(c.ci95.low.to_bits(), lower(59, 100, 0.96).to_bits());
        assert_eq!(c.ci95.high.to_bits(), upper(60, 100, 0.96).to_bits());
    }

    #[test]
    fn a_missing_outcome_is_stopped_and_counts_both_ways() {
        let mut r = certified(vec![meta("interval", 0.1, 0.0)], &[60]);
        r.samples[99].certificates.clear();
        let (head, runs, samples) = apart(r);
        let c = &summarise(head, runs, samples).certified[0];
        assert_eq!((c.certified, c.stopped), (60, 1));
        assert_eq!(c.ci95, Proportion::new(60, 1, 100).ci95());
    }

    #[test]
    fn a_merged_report_has_the_same_certificates() {
        let whole = certified(vec![meta("interval", 0.1, 0.0)], &[60]);
        assert_eq!(merge(vec![whole.clone()]).unwrap(), whole);
    }

    /// The metric takes the largest budget, any method, and no certificate of another classifier.
    #[test]
    fn the_metric_counts_proofs_about_the_model() {
        let metas = vec![
            meta("interval", 0.1, 0.0),
            meta("crown", 0.2, 0.0),
            meta("interval", 0.2, 0.0),
            meta("smoothing", 0.2, 0.001),
        ];
        let r = certified(metas, &[90, 70, 40, 99]);
        let metric = Metric::CertifiedAccuracy;
        let estimate = Counts::of(&metric, &r).estimate(&metric, 0.95);
        assert_eq!((estimate.observed, estimate.n), (Some(0.7), 100));
        let none = certified(vec![meta("smoothing", 0.2, 0.001)], &[99]);
        assert!(of_model(&none).is_empty());
        assert_eq!(Counts::of(&metric, &none).n(), 0);
    }
}
