package command

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/servicetools/servicetools/broker/config"
	"github.com/servicetools/servicetools/wire/curve"
)

// files examines what a configuration names on this host.
func (e *examination) files(cfg *config.Config) {
	if cfg.Security.Insecure {
		e.note("keys", "set secure = True in [security] and make keys with certtool", "the broker runs without security")
	} else {
		e.folders(cfg)
		e.serverPair(keysetOf(cfg))
		e.adminKey(keysetOf(cfg))
	}
	e.logFolder(cfg.Logging.LogDir)
	e.workerFiles(cfg)
}

// folders examines the key folders themselves.
func (e *examination) folders(cfg *config.Config) {
	const step = "key folders"
	for key, dir := range map[string]string{"public_keys_dir": cfg.Main.PublicKeysDir, "secret_keys_dir": cfg.Main.SecretKeysDir} {
		if _, err := os.ReadDir(dir); err != nil {
			e.fail(ExitConfig, step, "correct [main] "+key+", or make it with certtool generate", "%s cannot be read: %v", dir, errors.Unwrap(err))
			return
		}
	}
	info, err := os.Stat(cfg.Main.SecretKeysDir)
	if err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		e.fail(ExitConfig, step, "run chmod 700 "+cfg.Main.SecretKeysDir, "others may enter the folder of secret keys, %s", cfg.Main.SecretKeysDir)
		return
	}
	e.ok(step, "%s and %s", cfg.Main.PublicKeysDir, cfg.Main.SecretKeysDir)
}

// serverPair examines the broker's own certificates.
func (e *examination) serverPair(keys curve.Keyset) {
	const step = "server certificate"
	secret, err := loadSecret(keys.SecretPath("server"))
	if err != nil {
		e.fail(ExitConfig, step, "the broker does not start without it", "%v", err)
		return
	}
	public, err := curve.LoadCertificate(keys.PublicPath("server"))
	switch {
	case err != nil:
		e.fail(ExitConfig, step, "peers need it to know the broker", "%v", err)
	case public.Public != secret.Public:
		e.fail(ExitConfig, step, "make a new pair with certtool generate --users server --overwrite, and give its public file to all peers",
			"%s and %s are not one pair", keys.PublicPath("server"), keys.SecretPath("server"))
	case secret.Role != curve.RoleServer && secret.Name != "":
		e.fail(ExitConfig, step, "make one with certtool generate --users server", "%s has the role %s", keys.SecretPath("server"), secret.Role)
	default:
		e.ok(step, "fingerprint %s", public.Public.Fingerprint())
	}
}

// adminKey examines the key by which commands on this host reach the broker.
func (e *examination) adminKey(keys curve.Keyset) {
	const step = "admin certificate"
	const remedy = "make one with certtool generate --users admin; commands on this host need it"
	own, err := curve.LoadCertificate(keys.SecretPath("admin"))
	if errors.Is(err, fs.ErrNotExist) {
		e.note(step, remedy, "there is no %s", keys.SecretPath("admin"))
		return
	}
	if err != nil {
		e.fail(ExitConfig, step, remedy, "%v", err)
		return
	}
	public, err := curve.LoadCertificate(keys.PublicPath("admin"))
	switch {
	case err != nil:
		e.fail(ExitConfig, step, "without it the broker does not admit the key", "%v", err)
	case public.Public != own.Public:
		e.fail(ExitConfig, step, "make a new pair with certtool generate --users admin --overwrite", "%s and %s are not one pair", keys.PublicPath("admin"), keys.SecretPath("admin"))
	case public.Role != curve.RoleAdmin:
		e.fail(ExitUnauthorized, step, remedy, "%s has the role %s", keys.PublicPath("admin"), public.Role)
	default:
		e.ok(step, "fingerprint %s", public.Public.Fingerprint())
	}
}

// logFolder examines whether the broker can write its log.
func (e *examination) logFolder(dir string) {
	if dir == "" {
		return
	}
	parent := dir
	for {
		if _, err := os.Stat(parent); err == nil || filepath.Dir(parent) == parent {
			break
		}
		parent = filepath.Dir(parent)
	}
	probe, err := os.CreateTemp(parent, ".broker-*")
	if err != nil {
		e.fail(ExitConfig, "log folder", "give the folder to the user who runs the broker", "%s cannot be written: %v", dir, errors.Unwrap(err))
		return
	}
	probe.Close()
	os.Remove(probe.Name())
	e.ok("log folder", "%s", dir)
}

// workerFiles examines what the broker needs to start its workers.
func (e *examination) workerFiles(cfg *config.Config) {
	const step = "worker files"
	w := cfg.Workers
	if !w.AutoStart {
		return
	}
	python := false
	for _, path := range w.WorkerConfigPaths[:min(w.NumWorkers, len(w.WorkerConfigPaths))] {
		worker, err := config.LoadWorker(path)
		if err != nil {
			e.fail(ExitConfig, step, "mend the file, or take it out of worker_config_paths", "%v", strings.ReplaceAll(fileError(path, err).Error(), "\n", "; "))
			return
		}
		python = python || worker.Main.PythonPath != ""
	}
	info, err := os.Stat(w.WorkerScriptPath)
	switch {
	case err != nil:
		e.fail(ExitConfig, step, "correct worker_script_path", "there is no %s", w.WorkerScriptPath)
	case !python && !runs(w.WorkerScriptPath, info):
		e.fail(ExitConfig, step, "run chmod +x on it, or name its interpreter as python_path in the worker's file", "%s is not executable", w.WorkerScriptPath)
	default:
		e.ok(step, "%d workers run %s", w.NumWorkers, w.WorkerScriptPath)
	}
}

// runs reports whether the system executes a file as it is. Where it does not,
// the broker looks for an interpreter by the file's extension.
func runs(path string, info os.FileInfo) bool {
	if filepath.Ext(path) == ".py" {
		return true
	}
	_, err := exec.LookPath(path)
	return err == nil || runtime.GOOS == "windows" && info.Mode().IsRegular()
}

// port says who has a port that the broker is to listen on, when none answers.
func (e *examination) port(name, addr string) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		e.fail(ExitFailure, name+" port", "stop the program that has it, or choose another port in [main]", "%s cannot be opened: %v", addr, errors.Unwrap(err))
		return
	}
	l.Close()
	e.ok(name+" port", "%s is free", addr)
}
