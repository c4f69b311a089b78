//! The API: one struct per action, in files named after the API's chapters.
