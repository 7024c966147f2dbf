//! The function `replication-worker`.

fn main() -> Result<(), lambdas::Failure> {
    lambdas::serve(lambdas::replication_worker::handle)
}
