package certtool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/servicetools/servicetools/wire/curve"
)

// record is one certificate in the output of list and show. It never holds a secret.
type record struct {
	Name        string           `json:"name"`
	Role        curve.Role       `json:"role"`
	State       string           `json:"state"` // one of the states below
	Created     *time.Time       `json:"created,omitempty"`
	Methods     []string         `json:"methods,omitempty"` // absent: every method of the role
	PublicKey   *curve.PublicKey `json:"public_key,omitempty"`
	Fingerprint string           `json:"fingerprint,omitempty"`
	PublicFile  string           `json:"public_file,omitempty"`
	SecretFile  string           `json:"secret_file,omitempty"`
	Problem     string           `json:"problem,omitempty"`

	err error // that Problem is the text of
}

const (
	stateAdmitted = "admitted"   // a broker that follows the folder admits it
	stateServer   = "server"     // the broker's own
	stateRevoked  = "revoked"    // a broker refuses it
	stateUnknown  = "not public" // there is only a secret file: no broker knows it
	stateBad      = "bad"        // a broker cannot read it
)

// describe returns the record of the certificate at the public or secret path.
func describe(name, path string) record {
	r := record{Name: name, PublicFile: path}
	if strings.HasSuffix(path, curve.SecretExt) {
		r.PublicFile, r.SecretFile = "", path
	}
	c, err := curve.LoadCertificate(path)
	if err != nil {
		r.Problem, r.err = err.Error(), err
	}
	if c == nil {
		r.State = stateBad
		return r
	}
	r.Role, r.Methods, r.PublicKey, r.Fingerprint = c.Role, c.Methods, &c.Public, c.Public.Fingerprint()
	if !c.Created.IsZero() {
		r.Created = &c.Created
	}
	switch {
	case r.PublicFile == "":
		r.State = stateUnknown
	case filepath.Base(filepath.Dir(path)) == curve.RevokedDir:
		r.State = stateRevoked
	case c.Role == curve.RoleServer:
		r.State = stateServer
	default:
		r.State = stateAdmitted
	}
	return r
}

// find returns the record of one name. That of a secret file whose public one was
// revoked is the revoked one's.
func find(keys curve.Keyset, name string) (record, error) {
	if err := curve.CheckName(name); err != nil {
		return record{}, usagef("%v", err)
	}
	public, secret := keys.PublicPath(name), keys.SecretPath(name)
	if exists(public) {
		r := describe(name, public)
		if exists(secret) {
			r.SecretFile = secret
		}
		return r, nil
	}
	revoked, err := revokedRecords(keys)
	if err != nil {
		return record{}, err
	}
	if exists(secret) {
		r := describe(name, secret)
		if gone := pairOf(r, revoked); gone != nil {
			return *gone, nil
		}
		return r, nil
	}
	for _, r := range revoked {
		if r.Name == name {
			return r, nil
		}
	}
	return record{}, fmt.Errorf("there is no certificate %q in %s; certtool list shows what there is: %w", name, keys.PublicDir, fs.ErrNotExist)
}

// pairOf returns the one of the revoked certificates that a secret one belongs
// to, with its file, or nil.
func pairOf(secret record, revoked []record) *record {
	for i := range revoked {
		if r := &revoked[i]; r.PublicKey != nil && secret.PublicKey != nil && *r.PublicKey == *secret.PublicKey {
			r.SecretFile = secret.SecretFile
			return r
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// records returns all certificates of the folders, the revoked ones last.
func records(keys curve.Keyset) ([]record, error) {
	if !exists(keys.PublicDir) && !exists(keys.SecretDir) {
		return nil, fmt.Errorf("there is neither %s nor %s; certtool generate makes them: %w", keys.PublicDir, keys.SecretDir, fs.ErrNotExist)
	}
	names, err := keys.Names()
	if err != nil {
		return nil, err
	}
	revoked, err := revokedRecords(keys)
	if err != nil {
		return nil, err
	}
	all := []record{} // not nil: JSON output is a list also when it is empty
	for _, name := range names {
		if curve.CheckName(name) != nil {
			continue
		}
		r, err := find(keys, name)
		if err != nil {
			return nil, err
		}
		if r.State != stateRevoked || pairOf(r, revoked) == nil {
			all = append(all, r)
		}
	}
	return append(all, revoked...), nil
}

// revokedRecords returns the certificates of the folder of revoked ones.
func revokedRecords(keys curve.Keyset) ([]record, error) {
	names, err := revokedNames(keys)
	if err != nil {
		return nil, err
	}
	all := make([]record, len(names))
	for i, name := range names {
		all[i] = describe(name, filepath.Join(keys.PublicDir, curve.RevokedDir, name+curve.PublicExt))
	}
	return all, nil
}

func revokedNames(keys curve.Keyset) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(keys.PublicDir, curve.RevokedDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), curve.PublicExt); ok && !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func writeJSON(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

// writeTable aligns rows of tab-separated cells.
func writeTable(w io.Writer, rows ...string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, row)
	}
	return t.Flush()
}

// orDash keeps empty cells visible.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func (r record) created() string {
	if r.Created == nil {
		return "-"
	}
	return r.Created.Format(time.RFC3339)
}

func (r record) role() string {
	if r.PublicKey == nil {
		return "-"
	}
	return r.Role.String()
}

func (r record) methods() string {
	switch {
	case r.PublicKey == nil || r.Role == curve.RoleServer:
		return "-"
	case len(r.Methods) == 0:
		return "all"
	}
	return strings.Join(r.Methods, ",")
}
