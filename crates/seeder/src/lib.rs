//! Regional seeder: pulls a build from S3 and seeds it
