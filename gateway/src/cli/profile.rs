//! `profile`: which device profiles there are, whether one is right, and what it makes of a frame.

mod decode;
mod show;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value as Json, json};
use ucifi_core::Profile;
use ucifi_profiles::document::Diagnostic;
use ucifi_profiles::{Catalogue, CompiledProfile, TestOutcome, compile};

use super::arguments::ProfileCommand;
use super::check::{diagnostics_json, invalid};
use super::output::{answer, complain, print, print_json};
use super::table::{Align, Table};
use crate::config::{Sources, beside, read_file};
use crate::exit::{ExitStatus, Failure};
use crate::profiles::{catalogue_of, objects_of};

pub(super) fn profile(config: &Path, command: ProfileCommand) -> Result<(), Failure> {
    match command {
        ProfileCommand::List(options) => list(&known(config)?, options.json),
        ProfileCommand::Check { files, options } => check(config, &files, options.json),
        ProfileCommand::Test { files, options } => {
            let profiles = if files.is_empty() {
                known(config)?.profiles().cloned().collect()
            } else {
                compile_all(config, &files).map_err(invalid)?
            };
            test(&profiles, options.json)
        }
        ProfileCommand::Show { profile, options } => {
            show::show(one_of(&known(config)?, &profile)?, options.json)
        }
        ProfileCommand::Decode(options) => {
            decode::decode(one_of(&known(config)?, &options.profile)?, &options)
        }
    }
}

fn one_of<'c>(catalogue: &'c Catalogue, id: &str) -> Result<&'c Arc<CompiledProfile>, Failure> {
    if let Some(profile) = catalogue.find(id) {
        return Ok(profile);
    }
    let near = catalogue
        .nearest(id)
        .map(|near| format!(", did you mean {near}?"))
        .unwrap_or_default();
    Err(Failure::new(
        ExitStatus::NotFound,
        format!("there is no profile {id:?}{near}"),
    ))
}

/// Returns the profile that is meant: that of a file, where a file is named, else that of an id.
#[cfg(feature = "demo")]
pub(crate) fn profile_of(config: &Path, name: &str) -> Result<Arc<CompiledProfile>, Failure> {
    let file = PathBuf::from(name);
    if file.is_file() || name.contains('/') || name.ends_with(".toml") {
        let mut compiled = compile_all(config, &[file]).map_err(invalid)?;
        return Ok(compiled.remove(0));
    }
    one_of(&known(config)?, name).cloned()
}

/// The stock profiles, and those of `profiles.d` beside the configuration if there is one.
fn known(config: &Path) -> Result<Catalogue, Failure> {
    let sources = Sources {
        profiles: beside(config, "profiles.d", "toml").map_err(invalid)?,
        objects: beside(config, "objects.d", "xml").map_err(invalid)?,
        ..Sources::default()
    };
    let mut found = Vec::new();
    let (_, catalogue) = catalogue_of(&sources, &mut found);
    if found.iter().any(Diagnostic::is_error) {
        Err(invalid(found))
    } else {
        Ok(catalogue)
    }
}

fn list(catalogue: &Catalogue, json: bool) -> Result<(), Failure> {
    let value: Vec<Json> = catalogue.profiles().map(|profile| summary(profile)).collect();
    answer(json, &Json::Array(value), || {
        let mut rows = Table::new(&[
            ("id", Align::Left),
            ("maker", Align::Left),
            ("model", Align::Left),
            ("kind", Align::Left),
            ("version", Align::Left),
            ("status", Align::Left),
            ("points", Align::Right),
        ]);
        for profile in catalogue.profiles() {
            let identity = profile.identity();
            rows.row(vec![
                profile.id().to_owned(),
                identity.manufacturer.to_string(),
                identity.model_number.to_string(),
                identity.device_type.to_string(),
                profile.version().to_owned(),
                profile.status().name().to_owned(),
                profile.points().len().to_string(),
            ]);
        }
        rows.to_string()
    })
}

fn summary(profile: &CompiledProfile) -> Json {
    let identity = profile.identity();
    let aliases: Vec<&str> = profile.aliases().iter().map(|alias| &**alias).collect();
    let points: Vec<Json> = profile
        .points()
        .iter()
        .map(|point| {
            json!({
                "name": &*point.name,
                "path": point.path.to_string(),
                "unit": &*point.unit,
                "every_ms": point.every_ms,
            })
        })
        .collect();
    let commands: Vec<String> = profile.command_paths().map(|path| path.to_string()).collect();
    json!({
        "id": profile.id(),
        "aliases": aliases,
        "manufacturer": &*identity.manufacturer,
        "model": &*identity.model_number,
        "kind": &*identity.device_type,
        "version": profile.version(),
        "status": profile.status().name(),
        "points": points,
        "commands": commands,
    })
}

fn check(config: &Path, files: &[PathBuf], json: bool) -> Result<(), Failure> {
    let compiled = compile_all(config, files);
    if json {
        let (valid, found) = match &compiled {
            Ok(profiles) => (
                true,
                profiles
                    .iter()
                    .flat_map(|p| p.warnings().iter().cloned())
                    .collect(),
            ),
            Err(found) => (false, found.clone()),
        };
        print_json(&json!({ "valid": valid, "diagnostics": diagnostics_json(&found) }))?;
        return if valid {
            Ok(())
        } else {
            Err(Failure::said(ExitStatus::Invalid))
        };
    }
    for profile in compiled.map_err(invalid)? {
        profile
            .warnings()
            .iter()
            .for_each(|warning| complain(&warning.to_string()));
        let points = profile.points().len();
        print(&format!(
            "{} {}: {points} points, no errors\n",
            profile.id(),
            profile.version()
        ))?;
    }
    Ok(())
}

/// Compiles every file; returns everything that is wrong with any of them.
fn compile_all(config: &Path, files: &[PathBuf]) -> Result<Vec<Arc<CompiledProfile>>, Vec<Diagnostic>> {
    let objects = objects_of(&beside(config, "objects.d", "xml")?)?;
    let mut found = Vec::new();
    let mut profiles = Vec::new();
    for path in files {
        let compiled = read_file(path)
            .map_err(|error| vec![error])
            .and_then(|file| compile(&file.name, &file.text, &objects));
        match compiled {
            Ok(profile) => profiles.push(Arc::new(profile)),
            Err(errors) => found.extend(errors),
        }
    }
    if found.is_empty() {
        Ok(profiles)
    } else {
        Err(found)
    }
}

fn test(profiles: &[Arc<CompiledProfile>], json: bool) -> Result<(), Failure> {
    let outcomes: Vec<(&str, TestOutcome)> = profiles
        .iter()
        .flat_map(|profile| {
            profile
                .run_tests()
                .into_iter()
                .map(|outcome| (profile.id(), outcome))
        })
        .collect();
    let failed = outcomes.iter().filter(|(_, outcome)| !outcome.passed()).count();
    let value: Vec<Json> = outcomes
        .iter()
        .map(|(id, outcome)| outcome_json(id, outcome))
        .collect();
    answer(json, &Json::Array(value), || {
        let lines: String = outcomes
            .iter()
            .map(|(id, outcome)| outcome_text(id, outcome))
            .collect();
        format!("{lines}{} golden frames, {failed} failed\n", outcomes.len())
    })?;
    if failed == 0 {
        Ok(())
    } else {
        Err(Failure::said(ExitStatus::Failed))
    }
}

fn outcome_json(id: &str, outcome: &TestOutcome) -> Json {
    json!({
        "profile": id,
        "name": outcome.name,
        "place": outcome.place.to_string(),
        "passed": outcome.passed(),
        "differences": outcome.differences,
    })
}

fn outcome_text(id: &str, outcome: &TestOutcome) -> String {
    if outcome.passed() {
        return format!("ok      {id}: {}\n", outcome.name);
    }
    let differences: String = outcome
        .differences
        .iter()
        .map(|line| format!("        {line}\n"))
        .collect();
    format!(
        "FAILED  {id}: {} ({})\n{differences}",
        outcome.name, outcome.place
    )
}
