//! The one place that knows AWS: clients, names, tables and the embedded cloud
