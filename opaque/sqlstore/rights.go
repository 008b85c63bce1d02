package sqlstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/cloakroom-go/cloakroom/session"
)

// A need is what the database's user must be allowed to do with a table.
type need struct {
	table  string
	column string // any of the table's numbers
	rights []string
}

func (s *Store) needs() []need {
	all := []string{"SELECT", "INSERT", "UPDATE", "DELETE"}
	return []need{
		{s.cfg.Prefix + "sessions", "seen", all},
		{s.cfg.Prefix + "meta", "value", []string{"SELECT", "UPDATE"}},
		{s.cfg.Prefix + "ended", "seq", all},
		{s.cfg.Prefix + "subjects", "until", all},
		{s.cfg.Prefix + "entries", "until", all},
	}
}

// try returns a statement that needs one of the rights and concerns no row. The
// database checks rights all the same.
func (n need) try(right string) string {
	const none = " WHERE 1 = 0"
	switch right {
	case "SELECT":
		return "SELECT 1 FROM " + n.table + none
	case "INSERT":
		return "INSERT INTO " + n.table + " (" + n.column + ") SELECT c FROM (SELECT 0 AS c) AS nothing" + none
	case "UPDATE":
		return "UPDATE " + n.table + " SET " + n.column + " = 0" + none
	default:
		return "DELETE FROM " + n.table + none
	}
}

// checkRights returns an error that names the rights that the user lacks. It
// does nothing if the user has had them all. Other errors say nothing about
// rights: the server may be a standby just now.
func (s *Store) checkRights(ctx context.Context, op string) error {
	if s.cfg.Dialect == SQLite || s.permitted.Load() {
		return nil
	}
	var grants []string
	sure := true
	for _, n := range s.needs() {
		var lacks []string
		for _, right := range n.rights {
			_, err := s.db.ExecContext(ctx, n.try(right))
			if s.cfg.Dialect.isDenied(err) {
				lacks = append(lacks, right)
			}
			sure = sure && err == nil
		}
		if lacks != nil {
			grants = append(grants, "GRANT "+strings.Join(lacks, ", ")+" ON "+n.table+" TO "+s.user(ctx))
		}
	}
	if grants == nil {
		s.permitted.Store(sure)
		return nil
	}
	first := ""
	if s.cfg.Dialect == MySQL { // which says the same of a table that doesn't exist
		first = " (after the statements of Schema, if there are no tables yet)"
	}
	return fmt.Errorf("sqlstore: %s: the database's user lacks rights; this gives them%s: %s: %w",
		op, first, strings.Join(grants, "; "), session.Unavailable)
}

// user returns the user as GRANT takes it.
func (s *Store) user(ctx context.Context) string {
	query := "SELECT quote_ident(current_user)"
	if s.cfg.Dialect == MySQL {
		query = "SELECT CONCAT(QUOTE(SUBSTRING_INDEX(CURRENT_USER(), '@', 1)), '@'," +
			" QUOTE(SUBSTRING_INDEX(CURRENT_USER(), '@', -1)))"
	}
	var name string
	if s.db.QueryRowContext(ctx, query).Scan(&name) != nil {
		return "the user"
	}
	return name
}
