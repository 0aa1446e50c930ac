//! The description of the API for programs (OpenAPI 3.1), made from the handlers themselves, and a page
//! to try it.

use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, OpenApi as Document, PathItem, Ref, RefOr, Required, Response, ResponseBuilder,
};
use utoipa::{OpenApi, ToSchema};
use utoipa_swagger_ui::SwaggerUi;

use super::links;

/// Where the page is.
const PAGE: &str = "/docs";
/// Where the document is.
const DOCUMENT: &str = "/openapi.json";

/// What is true of the whole API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Carillon booking API",
        description = "Resources, bookings, waitlists, series, calendars. Every change is told as an event. \
                       Errors are problem documents (RFC 9457). Times are RFC 3339; intervals are half open.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(Problem))
)]
struct Api;

/// Why a request was refused (RFC 9457).
#[derive(ToSchema)]
#[allow(dead_code)] // it is described here, and made in `carillon_web`
struct Problem {
    /// What kind of problem: `urn:carillon:problem:<code>`, or `about:blank`.
    #[schema(example = "urn:carillon:problem:overlap")]
    r#type: String,
    /// The kind in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What went wrong here, and what to do.
    detail: String,
}

/// The document that the handlers add themselves to.
pub(super) fn begun() -> Document {
    Api::openapi()
}

/// The document once all handlers are in it, and the page that shows it.
pub(super) fn served(mut document: Document, needs_token: bool) -> SwaggerUi {
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .build();
    if let Some(components) = &mut document.components {
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
    let bearer = SecurityRequirement::new::<&str, [&str; 0], &str>("bearer", []);
    document.security = Some(match needs_token {
        true => vec![bearer],
        false => vec![bearer, SecurityRequirement::default()],
    });
    for path in document.paths.paths.values_mut() {
        operations(path).for_each(complete);
    }
    links::link(document.paths.paths.values_mut().flat_map(operations));
    SwaggerUi::new(PAGE).url(DOCUMENT, document)
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut path.get,
        &mut path.post,
        &mut path.put,
        &mut path.patch,
        &mut path.delete,
    ]
    .into_iter()
    .flatten()
}

/// What every operation has: a name of its own, and another answer than the good one is a problem document. Those that even a
/// request that follows the document may get are announced, where their cause can come up.
fn complete(operation: &mut Operation) {
    let part = operation.tags.iter().flatten().next();
    // Handlers have short names, which others have as well.
    operation.operation_id = match (part, &operation.operation_id) {
        (Some(part), Some(handler)) => Some(format!("{part}_{handler}")),
        (_, handler) => handler.clone(),
    };
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    let takes = |name: &str| {
        let parameter = parameters.iter().find_map(|parameter| match parameter {
            RefOr::T(parameter) if parameter.name == name => Some(parameter),
            _ => None,
        });
        parameter.map(|parameter| matches!(parameter.required, Required::True))
    };
    let needs_version = takes("If-Match");
    // Times in the wrong order, a zone or somebody that there is not, a cursor of another list, a key
    // that came with another body.
    let may_be_impossible = operation.request_body.is_some()
        || ["to", "cursor", "userId", "Idempotency-Key"]
            .into_iter()
            .any(|name| takes(name).is_some());
    let announced = [
        (
            "412",
            needs_version.is_some(),
            "Another version is there than the one that was seen.",
        ),
        (
            "422",
            may_be_impossible,
            "Everything has its form, and yet it cannot be: values that do not go together, or that name what is not there.",
        ),
        (
            "428",
            needs_version == Some(true),
            "It was not said which version was seen.",
        ),
        ("default", true, "It was refused, or it failed."),
    ];
    for (status, is_possible, description) in announced {
        if is_possible {
            let responses = &mut operation.responses.responses;
            responses.insert(status.to_owned(), RefOr::T(problem(description)));
        }
    }
}

fn problem(description: &str) -> Response {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    ResponseBuilder::new()
        .description(description)
        .content(carillon_web::PROBLEM_JSON, content)
        .build()
}

/// A header that requests of several kinds have.
pub(super) fn header<T: ToSchema>(name: &str, required: Required) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(required)
        .schema(Some(T::schema()))
        .build()
}

/// What a list answers, as a type of its own for each kind of item: it is described here and made by
/// `carillon_web::Page`.
macro_rules! page {
    ($(#[$doc:meta])* $name:ident of $item:ty) => {
        $(#[$doc])*
        #[derive(utoipa::ToSchema)]
        #[allow(dead_code)]
        pub(super) struct $name {
            /// What is on this page, in the list's order.
            items: Vec<$item>,
            /// The cursor that asks for what comes after it; null at the end.
            next: Option<String>,
        }
    };
}
pub(super) use page;
