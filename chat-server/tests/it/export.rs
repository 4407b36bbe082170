//! A room as lines of JSON is what was written, of one moment, and what a restored database says.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use chat_server::room::{FOR_EVER, Role, RoomId};
use chat_server::store::{Edit, Settings, Store, Target};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::erasure::life::{body, create, deed, message, say};
use crate::harness::vault::Vault;
use crate::harness::{Backend, Begin, SECRET, eventually, on_both_stores};

/// The program on the data of a test.
fn program(vault: &Vault, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-server"));
    command.args(arguments).env_clear().env("JWT_SECRET", SECRET).env("RUST_LOG", "warn");
    command.stdin(Stdio::null());
    match &vault.settings.target {
        Target::Postgres(url) => command.env("DATABASE_URL", url.expose_secret()),
        Target::Sqlite(path) => command.env("DATA_DIR", path.parent().unwrap_or(Path::new("."))),
    };
    command
}

/// What the program prints, which must succeed.
fn printed(vault: &Vault, arguments: &[&str]) -> String {
    let output = program(vault, arguments).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the program complains of, which must fail and print nothing.
fn complaint(vault: &Vault, arguments: &[&str]) -> String {
    let output = program(vault, arguments).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    String::from_utf8(output.stderr).unwrap()
}

fn export(vault: &Vault, room: RoomId) -> Vec<Value> {
    let text = printed(vault, &["export", "--room", &room.to_string()]);
    assert!(text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A room of Ann's with so many messages of hers.
async fn room_with(vault: &Vault, messages: usize) -> RoomId {
    let room = create(&vault.store, "ann", &["bob"]).await;
    let words = |number| message(room, "ann", &format!("number {number}"), Some(Uuid::new_v4()));
    let drafts: Vec<_> = (0..messages).map(words).collect();
    for part in drafts.chunks(500) {
        vault.store.append(part).await.unwrap();
    }
    room
}

on_both_stores! {
    async fn an_export_is_what_was_written_as_it_stands_now(vault: Vault) {
        let store = &vault.store;
        let room = create(store, "ann", &["bob"]).await;
        store.mute(deed(room, "ann", "bob"), 9_000_000_000_000).await.unwrap();
        store.ban(deed(room, "ann", "mallory"), FOR_EVER).await.unwrap();
        let said = say(store, message(room, "ann", "first\n\"try\"", None)).await;
        let edit = Edit { room, id: said.id, editor: "ann".into(), body: body("second") };
        store.edit(&edit).await.unwrap();
        say(store, message(room, "ann", "another", None)).await;
        let lines = export(&vault, room);
        let head = &lines[0]["room"];
        let wanted = json!({
            "id": room, "kind": "public", "name": "a room", "topic": "of all sorts", "head": 7,
            "trimmed": 0, "members": 2, "slow_mode": 0, "created_at": head["created_at"],
            "created_by": "ann",
        });
        assert_eq!(*head, wanted);
        let since = |line: usize| lines[line]["member"]["joined_at"].clone();
        let members = [
            json!({ "member": { "user": "ann", "role": Role::Owner, "joined_at": since(1) } }),
            json!({ "member": {
                "user": "bob", "role": Role::Member, "joined_at": since(2),
                "muted": true, "muted_until": 9_000_000_000_000_u64,
            } }),
            json!({ "member": { "user": "mallory", "joined_at": since(3), "banned": true } }),
        ];
        assert_eq!(lines[1..4], members);
        let page = store.page(room.log(), chat_server::store::Range::After(0), 100).await.unwrap();
        assert_eq!(lines[4..].len(), page.len());
        for (line, event) in lines[4..].iter().zip(page) {
            let data: Value = serde_json::from_slice(event.data.as_bytes()).unwrap();
            assert_eq!((&line["offset"], &line["time"]), (&json!(event.offset), &json!(event.time_ms)));
            assert_eq!((&line["kind"], &line["data"]), (&data["type"], &data));
            assert!(line["id"].as_str().unwrap().parse::<Uuid>().is_ok());
        }
        assert_eq!(lines[8]["data"]["body"], "second");
        assert_eq!(lines[8]["id"], lines[8]["data"]["id"]);
    }

    async fn ten_thousand_events_come_in_order_and_fit_into_a_file(vault: Vault) {
        let room = room_with(&vault, 10_000).await;
        let lines = export(&vault, room);
        let offsets: Vec<_> = lines.iter().filter_map(|line| line["offset"].as_u64()).collect();
        assert_eq!(offsets, (1..=10_002).collect::<Vec<_>>());
        let bodies = lines.iter().filter_map(|line| line["data"]["body"].as_str());
        let wanted = (0..10_000).map(|number| format!("number {number}"));
        assert!(bodies.eq(wanted));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("room.ndjson");
        let path = file.to_str().unwrap();
        let arguments = ["export", "--room", &room.to_string(), "--output", path];
        assert_eq!(printed(&vault, &arguments), "");
        let written = std::fs::read_to_string(&file).unwrap();
        let written: Vec<Value> =
            written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(written, lines);
        let refused = complaint(&vault, &arguments);
        assert!(refused.contains("is there already"), "{refused}");
    }

    async fn whoever_reads_it_may_stop(vault: Vault) {
        let room = room_with(&vault, 2000).await;
        let mut command = program(&vault, &["export", "--room", &room.to_string()]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        // More than a pipe holds is still to come when it is closed.
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(first.starts_with("{\"room\":"), "{first}");
        let mut complaint = String::new();
        child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
        assert_eq!((child.wait().unwrap().code(), complaint.as_str()), (Some(0), ""));
    }

    async fn an_unknown_room_is_a_failure_and_leaves_no_file(vault: Vault) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("room.ndjson");
        let room = RoomId::new().to_string();
        let arguments = ["export", "--room", &room, "--output", file.to_str().unwrap()];
        assert!(complaint(&vault, &arguments[..3]).contains("no such room"));
        assert!(complaint(&vault, &arguments).contains("no such room"));
        assert!(!file.exists());
        let output = program(&vault, &["export", "--room", "lobby"]).output().unwrap();
        assert_eq!(output.status.code(), Some(64));
    }

    async fn what_is_said_meanwhile_is_not_in_it(vault: Vault) {
        let room = room_with(&vault, 1200).await;
        let mut snapshot = vault.store.snapshot(room).await.unwrap();
        assert_eq!(snapshot.room().await.unwrap().head, 1202);
        let mut offsets = Vec::new();
        loop {
            let last = offsets.last().copied().unwrap_or(0);
            let page = snapshot.events(last).await.unwrap();
            if page.is_empty() {
                break;
            }
            offsets.extend(page.iter().map(|event| event.offset));
            // Nobody waits for the snapshot, and it does not see this.
            say(&vault.store, message(room, "ann", "late", None)).await;
            vault.store.join(deed(room, "eve", "eve")).await.unwrap();
        }
        assert_eq!(offsets, (1..=1202).collect::<Vec<_>>());
        let members = snapshot.members("").await.unwrap();
        assert_eq!(members.iter().map(|member| &*member.user).collect::<Vec<_>>(), ["ann", "bob"]);
        assert_eq!(snapshot.room().await.unwrap().head, 1202);
    }

    async fn a_restored_database_begins_another_life_of_its_offsets(vault: Vault) {
        let before = vault.store.epoch().await.unwrap();
        let said = printed(&vault, &["restored"]);
        let after = vault.store.epoch().await.unwrap();
        assert_ne!(before, after);
        assert_eq!(said, format!("the epoch was {before} and is {after}\n"));
    }
}

/// PostgreSQL ends a transaction in which nothing happens; a snapshot is let alone, for whoever
/// reads the export may be slow.
#[tokio::test]
async fn a_snapshot_outlasts_a_transaction_that_rests_too_long() {
    let vault = Vault::on(Backend::Postgres).await;
    let room = room_with(&vault, 10).await;
    let Target::Postgres(url) = &vault.settings.target else { panic!("it is PostgreSQL") };
    // Long enough to log in on a machine that has other things to do.
    let timeout = Duration::from_secs(1);
    let settings = Settings { timeout, ..vault.settings.clone() };
    let mut snapshot = Store::open(&settings).await.unwrap().snapshot(room).await.unwrap();
    assert_eq!(snapshot.room().await.unwrap().head, 12);
    let mut other = PgConnection::connect(url.expose_secret()).await.unwrap();
    let limit = "SET idle_in_transaction_session_timeout = 1000";
    sqlx::query(limit).execute(&mut other).await.unwrap();
    sqlx::query("BEGIN").execute(&mut other).await.unwrap();
    let pid = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut other).await;
    let pid: i32 = pid.unwrap();
    let still_there = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
    eventually("the other transaction is ended", async || {
        vault.numbers(still_there.clone()).await == [0]
    })
    .await;
    assert_eq!(snapshot.events(0).await.unwrap().len(), 12);
}

#[test]
fn a_folder_without_a_database_is_told_and_none_is_made() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["restored"][..], &["export", "--room", &RoomId::new().to_string()]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat-server"));
        command.args(arguments).env_clear().env("JWT_SECRET", SECRET).stdin(Stdio::null());
        let output = command.env("DATA_DIR", folder.path()).output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(complaint.contains("there is no database at"), "{complaint}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
