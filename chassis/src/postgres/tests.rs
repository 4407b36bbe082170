//! The pool against a real server, and the forms of its URL.

use sqlx::{Connection as _, Executor as _, Row as _};

use super::*;
use crate::testing::{Schema, deadline};

fn config(url: &str) -> Config {
    let (url, application) = (url.into(), "chassis-test".to_owned());
    Config { url, size: 2, timeout: Duration::from_millis(1234), application }
}

fn location(url: &str) -> Result<Location, Malformed> {
    Location::parse(&url.into())
}

async fn setting(pool: &Pool, name: &str) -> String {
    let sql = sqlx::query("SELECT current_setting($1)").bind(name.to_owned());
    deadline(sql.fetch_one(&pool.get())).await.unwrap().get(0)
}

#[tokio::test]
async fn every_connection_is_set_as_it_should_be_and_the_url_has_the_last_word() {
    let schema = Schema::create().await;
    let pool = Pool::new(&config(&format!("{}%20-cjit%3Don", schema.url()))).unwrap();
    for (name, value) in [
        ("statement_timeout", "1234ms"),
        ("idle_in_transaction_session_timeout", "1234ms"),
        ("plan_cache_mode", "force_generic_plan"),
        ("tcp_keepalives_idle", "30"),
        ("tcp_user_timeout", "30000"),
        ("application_name", "chassis-test"),
        ("search_path", schema.name()),
        ("jit", "on"),
    ] {
        assert_eq!(setting(&pool, name).await, value, "{name}");
    }
}

#[tokio::test]
async fn a_renewed_pool_has_new_connections_with_the_same_settings() {
    let schema = Schema::create().await;
    let pool = Pool::new(&config(schema.url())).unwrap();
    let mut held = deadline(pool.get().acquire()).await.unwrap();
    let first = backend(&mut held).await;
    pool.renew();
    let mut other = deadline(pool.get().acquire()).await.unwrap();
    assert_ne!(backend(&mut other).await, first);
    assert_eq!(setting(&pool, "search_path").await, schema.name());
    assert_eq!(backend(&mut held).await, first, "who has an old connection keeps it");
    // Of the two that the new pool may have, one is in use and none is held by the old one.
    deadline(pool.get().acquire()).await.unwrap();
}

async fn backend(connection: &mut PgConnection) -> i32 {
    let row = deadline(connection.fetch_one("SELECT pg_backend_pid()")).await.unwrap();
    row.get(0)
}

#[tokio::test]
async fn errors_of_a_real_server_are_recognized() {
    let schema = Schema::create().await;
    let pool = Pool::new(&config(schema.url())).unwrap();
    let slow = deadline(pool.get().execute("SELECT pg_sleep(60)")).await.unwrap_err();
    assert!(is_transient(&slow), "{slow}");

    let read_only = format!("{}%20-cdefault_transaction_read_only%3Don", schema.url());
    let standby = Pool::new(&config(&read_only)).unwrap();
    let refused = deadline(standby.get().execute("CREATE TABLE t ()")).await.unwrap_err();
    assert!(is_read_only(&refused) && !is_connection_lost(&refused), "{refused}");

    let mut own = deadline(pool.connect()).await.unwrap();
    let ended = own.execute("SELECT pg_terminate_backend(pg_backend_pid())").await.unwrap_err();
    assert!(is_connection_lost(&ended), "{ended}");
    let after = own.ping().await.unwrap_err();
    assert!(is_connection_lost(&after), "{after}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_lost_connection() {
    let port = crate::testing::free_port();
    let pool = Pool::new(&config(&format!("postgres://veza@127.0.0.1:{port}/veza"))).unwrap();
    let error = deadline(pool.connect()).await.unwrap_err();
    assert!(is_connection_lost(&error), "{error}");
}

#[tokio::test]
async fn a_location_says_where_and_never_who() {
    for (url, shown) in [
        ("postgres://veza:hunter2@db.internal/veza_prod", "db.internal:5432/veza_prod"),
        ("postgresql://veza:hunter2@10.0.0.1:6543/veza", "10.0.0.1:6543/veza"),
        ("postgres://veza:hunter2@[::1]:5432/veza?sslmode=require", "[::1]:5432/veza"),
        ("postgres:///veza?host=/run/postgresql", "/run/postgresql/veza"),
        ("postgres://veza@db", "db:5432/veza"),
    ] {
        let location = location(url).unwrap();
        assert_eq!(location.to_string(), shown);
        assert_eq!(format!("{location:?}"), format!("Location({shown})"));
    }
    let pool = format!("{:?}", Pool::new(&config("postgres://u:hunter2@db/veza")));
    assert!(!pool.contains("hunter2"), "{pool}");
}

#[test]
fn what_is_no_url_of_a_database_is_refused_without_repeating_it() {
    for bad in [
        "",
        "veza",
        "mysql://veza:hunter2@db/veza",
        "postgres://",
        "postgres:///veza",
        "postgres://veza:hunter2@/veza",
        "postgres://veza:hunter2@:5432/veza",
        "postgres://veza:hunter2@db:port/veza",
        "postgres://veza:hunter2@db:99999/veza",
        "postgres://veza:hunter2#@db/veza",
        "postgres://veza:hunter2@db/veza?sslmode=perhaps",
        "postgres://veza:hunter2@db/veza?port=x",
    ] {
        let refused = location(bad).expect_err(bad).to_string();
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}

#[test]
fn parameters_without_a_meaning_are_named_and_their_values_are_not() {
    let url = "postgres://veza@db/veza?connect_timeout=10&sslmode=disable&sslpassword=hunter2";
    assert_eq!(location(url).unwrap().ignored(), ["connect_timeout", "sslpassword"]);
}
