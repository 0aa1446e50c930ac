//! What can be done with what was just made, as the document says it to programs (OpenAPI 3.1, Link
//! Object). Whoever follows them needs to guess no id.

use utoipa::openapi::RefOr;
use utoipa::openapi::link::{Link, LinkBuilder};
use utoipa::openapi::path::Operation;

/// From the operation that makes something to those that take it, and where in the answer stands what they
/// are to be given.
struct Links {
    from: &'static str,
    to: &'static [&'static str],
    parameters: &'static [(&'static str, &'static str)],
}

static LINKS: [Links; 3] = [
    Links {
        from: "waitlist_join",
        to: &["waitlist_show", "waitlist_accept", "waitlist_leave"],
        parameters: &[
            ("resourceId", "$response.body#/resourceId"),
            ("entryId", "$response.body#/id"),
        ],
    },
    Links {
        from: "calendars_add_to_resource",
        to: &["calendars_revoke"],
        parameters: &[("id", "$response.body#/id")],
    },
    Links {
        from: "calendars_add_to_user",
        to: &["calendars_revoke"],
        parameters: &[("id", "$response.body#/id")],
    },
];

/// Adds them to the answers of what makes something. The operations have their names already.
pub(super) fn link<'a>(operations: impl Iterator<Item = &'a mut Operation>) {
    for operation in operations {
        let name = operation.operation_id.as_deref();
        let Some(links) = LINKS.iter().find(|links| name == Some(links.from)) else {
            continue;
        };
        if let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("201") {
            let named = links
                .to
                .iter()
                .map(|to| ((*to).to_owned(), RefOr::T(links.to(to))));
            answer.links.extend(named);
        }
    }
}

impl Links {
    fn to(&self, operation: &str) -> Link {
        let begun = LinkBuilder::new().operation_id(operation);
        let taken = self.parameters.iter();
        taken
            .fold(begun, |link, (name, value)| link.parameter(*name, *value))
            .build()
    }
}
