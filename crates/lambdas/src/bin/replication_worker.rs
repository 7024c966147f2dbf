//! The function `replication-worker`.

fn main() -> Result<(), lambdas::RuntimeError> {
    lambdas::serve(lambdas::replication_worker::handle)
}
