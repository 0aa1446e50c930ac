//! What `wit-bindgen` makes of the plugin's world. Authors use the modules around it;
//! the `#[plugin]` attribute and the host's tests reach in here.

wit_bindgen::generate!({
    path: "../../wit/carillon-plugin-0.1.1",
    world: "plugin",
    pub_export_macro: true,
    default_bindings_module: "carillon_plugin::bindings",
    additional_derives: [PartialEq],
});
