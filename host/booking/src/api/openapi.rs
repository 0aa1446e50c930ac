//! The description of the API for programs (OpenAPI 3.1), made from the handlers themselves, and a page
//! to try it.

use serde_json::{Value, json};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, OpenApi as Document, PathItem, Ref, RefOr, ResponseBuilder,
    schema::{ObjectBuilder, Schema, Type},
};
use utoipa::{OpenApi, ToSchema};
use utoipa_swagger_ui::SwaggerUi;

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
    components(schemas(Problem)),
    security(("bearer" = []), ()),
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
pub(super) fn served(mut document: Document) -> SwaggerUi {
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .build();
    if let Some(components) = &mut document.components {
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
    for path in document.paths.paths.values_mut() {
        operations(path).for_each(complete);
    }
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

/// What every operation has: another answer than the good one is a problem document.
fn complete(operation: &mut Operation) {
    let problem = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    let problem = ResponseBuilder::new()
        .description("It was refused, or it failed.")
        .content(carillon_web::PROBLEM_JSON, problem)
        .build();
    operation
        .responses
        .responses
        .insert("default".to_owned(), RefOr::T(problem));
}

/// A time, as it stands in JSON.
pub(crate) fn time() -> Schema {
    let format = utoipa::openapi::SchemaFormat::KnownFormat(utoipa::openapi::KnownFormat::DateTime);
    let example: Value = json!("2031-05-06T09:00:00Z");
    let object = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(format))
        .examples([example]);
    Schema::Object(object.build())
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
