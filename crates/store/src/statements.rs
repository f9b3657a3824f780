//! Every statement that is written out in this crate. The guard's tests read this list: they hold
//! each statement to its class and notice one that is missing here.

use crate::sql::Sql;

/// The statements over a workspace's tables: one line a module.
pub fn workspace() -> Vec<&'static Sql> {
    let mut all = crate::changes::SQLS.concat();
    all.extend(crate::alerts::SQL);
    all.extend(crate::archive::SQL);
    all.extend(crate::blocks::SQL);
    all.extend(crate::campaigns::SQLS.concat());
    all.extend(crate::consents::SQL);
    all.extend(crate::audit::SQL);
    all.extend(crate::customers::SQL);
    all.extend(crate::definitions::SQLS.concat());
    all.extend(crate::deliveries::SQLS.concat());
    all.extend(crate::erasures::SQL);
    all.extend(crate::forms::SQL);
    all.extend(crate::groups::SQL);
    all.extend(crate::idempotency::SQL);
    all.extend(crate::images::SQL);
    all.extend(crate::import_mappings::SQL);
    all.extend(crate::imports::SQLS.concat());
    all.extend(crate::jobs::SQL);
    all.extend(crate::mailbox::SQL);
    all.extend(crate::memberships::SQLS.concat());
    all.extend(crate::merges::SQLS.concat());
    all.extend(crate::overview::SQL);
    all.extend(crate::own_texts::SQL);
    all.extend(crate::personal::SQL);
    all.extend(crate::relays::SQL);
    all.extend(crate::retention::SQL);
    all.extend(crate::schema::SQL);
    all.extend(crate::sealed::SQL);
    all.extend(crate::search::SQLS.concat());
    all.extend(crate::segments::SQL);
    all.extend(crate::senders::SQL);
    all.extend(crate::storage::SQL);
    all.extend(crate::suppressions::SQL);
    all.extend(crate::templates::SQL);
    all.extend(crate::topics::SQL);
    all.extend(crate::undo::SQLS.concat());
    all
}

/// The statements over the system database.
pub fn system() -> Vec<&'static Sql> {
    let mut all = crate::system::SQL.to_vec();
    all.extend(crate::people::SQL);
    all.extend(crate::sealed::SYSTEM_SQL);
    all
}

/// All of them.
pub fn all() -> Vec<&'static Sql> {
    let mut all = workspace();
    all.extend(system());
    all
}
