//! The profiles and objects that are known: those inside the program, and those in the folders beside the
//! configuration.

use lwm2m_client::object::{ObjectTable, xml};
use ucifi_profiles::document::{Diagnostic, Place};
use ucifi_profiles::{Catalogue, compile};

use crate::config::{File, Sources};

/// Returns the object table and the catalogue of the sources, with what is wrong with them in `found`.
pub(crate) fn catalogue_of(sources: &Sources, found: &mut Vec<Diagnostic>) -> (ObjectTable, Catalogue) {
    let mut objects = ObjectTable::builtin();
    sources
        .objects
        .iter()
        .for_each(|file| insert_objects(&mut objects, file, found));
    let mut catalogue = Catalogue::stock(&objects);
    for file in &sources.profiles {
        match compile(&file.name, &file.text, &objects) {
            Ok(profile) => {
                found.extend(profile.warnings().iter().cloned());
                catalogue.insert(profile);
            }
            Err(errors) => found.extend(errors),
        }
    }
    (objects, catalogue)
}

/// Returns the object table with the objects of these files.
///
/// # Errors
/// Every file that holds no object.
pub(crate) fn objects_of(files: &[File]) -> Result<ObjectTable, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let mut objects = ObjectTable::builtin();
    files
        .iter()
        .for_each(|file| insert_objects(&mut objects, file, &mut found));
    if found.is_empty() { Ok(objects) } else { Err(found) }
}

fn insert_objects(objects: &mut ObjectTable, file: &File, found: &mut Vec<Diagnostic>) {
    match xml::parse(&file.text) {
        Ok(definitions) => definitions
            .into_iter()
            .for_each(|definition| objects.insert(definition)),
        Err(error) => {
            let line = u32::try_from(error.line).unwrap_or(u32::MAX);
            let place = Place {
                file: file.name.as_str().into(),
                line,
                column: 1,
            };
            found.push(Diagnostic::error(place, error.reason));
        }
    }
}
