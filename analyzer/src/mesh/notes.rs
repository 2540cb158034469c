//! What there is to say of an input: each thing once, and how often the same came again.

use std::collections::HashMap;

use crate::mesh::meta::File;
use crate::report::InputError;

/// All that there is to say, in the order in which it was met.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    notes: Vec<Note>,
    /// What is said once: the place of its note.
    once: HashMap<String, usize>,
}

#[derive(Debug, Clone)]
struct Note {
    error: InputError,
    /// How often the same came again; it is said once.
    again: u64,
}

impl Notes {
    /// Notes something; `fatal` where it was left out for it.
    pub(super) fn add(&mut self, file: &File, line: Option<u32>, fatal: bool, message: String) {
        let error = InputError { file: file.to_string(), line, message, fatal };
        self.note(None, Note { error, again: 0 });
    }

    /// Notes something the first time that its key is met, and counts it from then on.
    pub(super) fn once(&mut self, key: String, file: &File, line: u32, message: String) {
        let error = InputError { file: file.to_string(), line: Some(line), message, fatal: false };
        self.note(Some(key), Note { error, again: 0 });
    }

    /// Takes what others say, behind its own.
    pub(super) fn take(&mut self, others: &Self) {
        let keys: HashMap<usize, &String> = others.once.iter().map(|(key, place)| (*place, key)).collect();
        for (place, note) in others.notes.iter().enumerate() {
            let key = keys.get(&place).map(|key| (*key).clone());
            self.note(key, note.clone());
        }
    }

    /// Returns what was said, with how often the same came again.
    pub(super) fn said(self) -> Vec<InputError> {
        let said = self.notes.into_iter().map(|Note { mut error, again }| {
            if again > 0 {
                error.message.push_str(&format!(" (and {again} more like it)"));
            }
            error
        });
        said.collect()
    }

    fn note(&mut self, key: Option<String>, note: Note) {
        let place = key.as_ref().and_then(|key| self.once.get(key));
        if let Some(said) = place.and_then(|place| self.notes.get_mut(*place)) {
            said.again = said.again.saturating_add(note.again).saturating_add(1);
            return;
        }
        if let Some(key) = key {
            self.once.insert(key, self.notes.len());
        }
        self.notes.push(note);
    }
}
