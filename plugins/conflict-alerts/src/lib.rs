//! A plugin that ships with Carillon.
