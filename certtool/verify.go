package certtool

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/servicetools/servicetools/wire/curve"
	"github.com/urfave/cli/v2"
)

const verifyHelp = `Checks every certificate of a folder: that it can be read, that both files of a
pair belong together, that no secret is open to others or lies among the public
keys, that no key is there twice. For each file it says what a broker that follows
the folder makes of it. Exit code 78 if anything is bad.

Example:
   certtool verify --path certs`

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name:        "verify",
		Usage:       "check the certificates of a folder",
		Description: verifyHelp,
		Flags:       []cli.Flag{pathFlag(), outputFlag()},
		Action:      verify,
	}
}

// finding is one line of the result.
type finding struct {
	File   string `json:"file"`
	Status string `json:"status"` // ok, note or bad
	Text   string `json:"text"`
}

func verify(c *cli.Context) error {
	keys, all, asJSON, err := folder(c)
	if err != nil {
		return err
	}
	findings := inspect(keys, all)
	if asJSON {
		err = writeJSON(c.App.Writer, findings)
	} else {
		rows := []string{"FILE\tSTATUS\tFINDING"}
		for _, f := range findings {
			rows = append(rows, f.File+"\t"+f.Status+"\t"+f.Text)
		}
		err = writeTable(c.App.Writer, rows...)
	}
	if err != nil {
		return err
	}
	for _, f := range findings {
		if f.Status == "bad" {
			return errReported
		}
	}
	return nil
}

// inspection collects findings about one folder.
type inspection struct {
	keys     curve.Keyset
	findings []finding
	admits   map[curve.PublicKey]string // the file by which a broker admits the key
	revoked  map[curve.PublicKey]string
}

func inspect(keys curve.Keyset, all []record) []finding {
	in := &inspection{
		keys:     keys,
		findings: []finding{},
		admits:   make(map[curve.PublicKey]string),
		revoked:  make(map[curve.PublicKey]string),
	}
	for _, r := range all {
		if r.State == stateRevoked {
			in.revoked[*r.PublicKey] = r.PublicFile
		}
	}
	in.secretFolder()
	for _, r := range all {
		if r.PublicFile != "" {
			in.public(r)
		}
		if r.SecretFile != "" {
			in.secret(r)
		}
	}
	return in.findings
}

func (in *inspection) add(path, status, format string, args ...any) {
	in.findings = append(in.findings, finding{File: path, Status: status, Text: fmt.Sprintf(format, args...)})
}

func (in *inspection) secretFolder() {
	info, err := os.Stat(in.keys.SecretDir)
	if err != nil || runtime.GOOS == "windows" {
		return
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		in.add(in.keys.SecretDir, "bad", "others may enter the folder of secret keys (mode %04o); run chmod 700 %s", mode, in.keys.SecretDir)
	}
}

// public says what a broker makes of a public certificate.
func (in *inspection) public(r record) {
	c, err := curve.LoadCertificate(r.PublicFile)
	if c == nil {
		in.add(r.PublicFile, "bad", "%v", err)
		return
	}
	if !c.Secret.IsZero() {
		in.add(r.PublicFile, "bad", "a secret key lies among the public keys; rotate it")
		return
	}
	switch {
	case r.State == stateRevoked:
		in.add(r.PublicFile, "ok", "a broker refuses the key: it is revoked")
		return
	case in.revoked[c.Public] != "":
		in.add(r.PublicFile, "bad", "a broker refuses the key, which %s revokes; remove one of the files", in.revoked[c.Public])
		return
	case r.State == stateServer:
		in.add(r.PublicFile, "ok", "the server's key; a broker admits nobody by it")
		return
	case in.admits[c.Public] != "":
		in.add(r.PublicFile, "bad", "the same key as %s, by which a broker goes; remove one of the files", in.admits[c.Public])
		return
	}
	in.admits[c.Public] = r.PublicFile
	if r.Name == curve.RoleServer.String() {
		in.add(r.PublicFile, "note", "a broker admits the server's own key with role %s, for the file names no other; add role = \"server\" below metadata", c.Role)
		return
	}
	in.add(r.PublicFile, "ok", "a broker admits the key with role %s, for %s", c.Role, methodsOf(r))
}

func methodsOf(r record) string {
	if len(r.Methods) == 0 {
		return "every method of the role"
	}
	return "the methods " + strings.Join(r.Methods, ", ")
}

// secret checks a secret certificate and that it belongs to the public one.
func (in *inspection) secret(r record) {
	c, err := curve.LoadCertificate(r.SecretFile)
	switch {
	case err != nil:
		in.add(r.SecretFile, "bad", "%v", err)
	case c.Secret.IsZero():
		in.add(r.SecretFile, "bad", "there is no secret key in the file; a certificate of the same name from elsewhere may have replaced it")
	case r.PublicFile == "":
		in.add(r.SecretFile, "note", "no public certificate of it in %s; a broker that follows the folder does not know the key", filepath.Dir(in.keys.PublicPath(r.Name)))
	case r.PublicKey != nil && c.Public != *r.PublicKey:
		in.add(r.SecretFile, "bad", "not the secret half of %s; make a new pair with certtool generate --overwrite", r.PublicFile)
	case r.PublicKey != nil && c.Role != r.Role:
		in.add(r.SecretFile, "note", "says role %s where %s says %s; a broker goes by the public one", c.Role, r.PublicFile, r.Role)
	case r.State == stateRevoked:
		in.add(r.SecretFile, "ok", "the secret half of the pair, of no use while the key is revoked")
	default:
		in.add(r.SecretFile, "ok", "the secret half of the pair")
	}
}
