//! Wrong types and values point at their line.

use super::*;

#[test]
fn wrong_types_and_values_point_at_their_line() {
    broken(
        "seed = 7",
        "seed = \"7\"",
        "seed",
        "expected a whole number, found string",
    );
    broken("seed = 7", "seed = -7", "seed", "at least 0");
    broken("limit = 500", "limit = 0", "limit = 0", "at least 1");
    broken(
        "limit = 500",
        "limit = 99999999999999999999",
        "limit = 9",
        "too large",
    );
    broken("level = 0.99", "level = 1.0", "level", "between 0 and 1");
    broken("level = 0.99", "level = 0", "level", "between 0 and 1");
    broken("level = 0.99", "level = nan", "level", "finite");
    broken("\"8/255\"", "-0.1", "threat", "is negative");
    broken("\"8/255\"", "nan", "threat", "is not a number");
    broken("\"8/255\"", "\"8/0\"", "threat", "divides by zero");
    broken("\"8/255\"", "0", "threat", "epsilon 0 freezes everything");
    broken("\"8/255\"", "inf", "threat", "is infinite");
    broken(
        "threat = { norm",
        "threat = { coupling = \"shared\", norm",
        "threat",
        "list them under `modalities`",
    );
    broken("q = 1", "q = 0.5", "q", "at least 1");
    broken(
        "coupling = \"shared\"",
        "coupling = \"independent\"",
        "q",
        "only means something",
    );
    broken(
        "eps = 0.03",
        "eps = 0",
        "modalities",
        "no modality may change",
    );
    broken(
        "\"audio\"",
        "\"image\"",
        "modalities",
        "has a budget already",
    );
    broken(
        "attacks = [\"fgsm\"",
        "attacks = [5",
        "attacks",
        "expected the id of an attack",
    );
    broken(
        "attacks = [\"pgd\"]",
        "attacks = []",
        "attacks = []",
        "must not be empty",
    );
}

#[test]
fn ids_and_data_point_at_their_line() {
    broken("id = \"linf\"", "id = \"../linf\"", "id", "letters, digits");
    broken(
        "id = \"joint\"",
        "id = \"LINF\"",
        "id = \"LINF\"",
        "there is a check called `LINF` already",
    );
    broken(
        "name = \"clips\"",
        "name = \"photos\" # again",
        "name = \"photos\" # again",
        "there is a data called `photos` already",
    );
    broken(
        "name = \"mine\"",
        "name = \"digits-robust\"",
        "name = \"digits-robust\"",
        "the name of a shipped model",
    );
    broken(
        "sha256 = \"AB",
        "sha256 = \"zz",
        "sha256",
        "64 hexadecimal digits",
    );
    broken("std = 0.5", "std = 0", "preprocess", "above 0");
    broken(
        "std = 0.5",
        "std = [1, 1]",
        "preprocess",
        "mean has 3 values and std 2",
    );
    broken(
        "bounds = [0, 1]",
        "bounds = [1, 0]",
        "bounds",
        "the first below the second",
    );
    broken(
        "bounds = [0, 1]",
        "bounds = [0]",
        "bounds",
        "expected two finite numbers",
    );
    broken(
        "range = \"0..500\"",
        "range = \"500..0\"",
        "range",
        "is no range",
    );
    broken(
        "range = \"0..500\"",
        "range = \"0..500\"\nlimit = 5",
        "range",
        "exclude each other",
    );
}

#[test]
fn exemptions_and_requirements_point_at_their_line() {
    broken(
        "expires = 2027-01-31",
        "expires = 2027-01-31T00:00:00Z",
        "expires",
        "expected a day",
    );
    broken(
        "\"2027-01-31\"",
        "\"31.1.2027\"",
        "expires = \"31",
        "is not a day",
    );
    broken(
        "reason = \"known, being fixed\"",
        "reason = \" \"",
        "reason",
        "must not be empty",
    );
    broken(
        "owner = \"vision team\"\n",
        "",
        "[[waiver]]",
        "missing field `owner`",
    );
    broken("seconds = 600", "seconds = 0", "seconds", "above 0");
    broken(
        "robust_accuracy >= 45 %",
        "robust_accuracy > 45 %",
        "require",
        "only `>=` is understood",
    );
    broken(
        "robust_accuracy(pgd)",
        "robust_accuracy(bim)",
        "require",
        "not among the attacks of this check",
    );
    broken(
        "accuracy >= 0.9 and",
        "robust_accuracy >= 0.9 and",
        "require = \"robust_accuracy >= 0.9 and",
        "runs none",
    );
    broken(
        "require = \"robust_accuracy >= 45 %, robust_accuracy(pgd) >= 0.5\"\n",
        "",
        "[[check]]",
        "missing field `require`",
    );
}
