//! Every byte that a database holds, behind the store's back: which columns have a text in them?

use chat_server::store::Target;
use secrecy::ExposeSecret;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection};

use crate::harness::vault::Vault;

/// All values of a database, each with its table and column; bytes and texts in hexadecimal.
#[derive(Debug, PartialEq, Eq)]
pub struct Scan(Vec<(String, String)>);

impl Scan {
    /// Reads every column of every table.
    pub async fn of(vault: &Vault) -> Self {
        let mut values = match &vault.settings.target {
            Target::Postgres(url) => postgres(url.expose_secret()).await,
            Target::Sqlite(path) => {
                sqlite(SqliteConnectOptions::new().filename(path).read_only(true)).await
            }
        };
        values.sort();
        assert!(values.iter().any(|(column, _)| column == "messages.payload"), "nothing was read");
        Self(values)
    }

    /// The columns that have this text somewhere.
    pub fn find(&self, text: &str) -> Vec<&str> {
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        let found = self.0.iter().filter(|(_, value)| value.contains(&hex));
        let mut columns: Vec<_> = found.map(|(column, _)| column.as_str()).collect();
        columns.dedup();
        columns
    }
}

async fn postgres(url: &str) -> Vec<(String, String)> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let columns = "SELECT table_name::text, column_name::text, data_type::text \
        FROM information_schema.columns WHERE table_schema = current_schema()";
    let mut values = Vec::new();
    for row in sqlx::query(columns).fetch_all(&mut connection).await.unwrap() {
        let (table, column, kind): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let bytes = match kind.as_str() {
            "bytea" => column.clone(),
            _ => format!("convert_to({column}::text, 'UTF8')"),
        };
        let sql = format!("SELECT COALESCE(encode({bytes}, 'hex'), '') FROM {table}");
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        values.extend(rows.iter().map(|row| (format!("{table}.{column}"), row.get(0))));
    }
    values
}

async fn sqlite(options: SqliteConnectOptions) -> Vec<(String, String)> {
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let columns = "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c \
        WHERE t.type = 'table'";
    let mut values = Vec::new();
    for row in sqlx::query(columns).fetch_all(&mut connection).await.unwrap() {
        let (table, column): (String, String) = (row.get(0), row.get(1));
        let sql = format!("SELECT lower(hex({column})) FROM {table}");
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        values.extend(rows.iter().map(|row| (format!("{table}.{column}"), row.get(0))));
    }
    values
}
