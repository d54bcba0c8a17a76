package sandbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// GoEnv returns the variables with which go build, go vet and go test work in
// the sandbox, offline: the installed toolchain, the user's module cache, and a
// build cache in cacheDir. The caller lists cacheDir in [Command.Write] and
// [GoRead] in [Command.Read]; [GoCommand] does both. The user's own build cache
// stays out of reach, so that a command cannot put objects into it.
//
// Modules are never downloaded, and go.mod is never changed. Without an
// installed toolchain the variables still hold, and the go command is not found.
func GoEnv(cacheDir string) []string {
	goroot, modcache := goDirs()
	env := []string{
		"GOCACHE=" + cacheDir,
		"GOENV=off",
		"GOTOOLCHAIN=local",
		"GOPROXY=off",
		"GOSUMDB=off",
		"GOVCS=*:off",
		"GOTELEMETRY=off",
		// -buildvcs=false: a worktree's repository is not visible inside.
		"GOFLAGS=-mod=readonly -buildvcs=false",
		"CGO_ENABLED=0",
		"PATH=" + filepath.Join(goroot, "bin") + ":" + systemPath,
	}
	if goroot != "" {
		env = append(env, "GOROOT="+goroot)
	}
	if modcache != "" {
		env = append(env, "GOMODCACHE="+modcache)
	}
	return env
}

// GoRead returns the directories that the Go toolchain reads: its own, and the
// user's module cache if there is one.
func GoRead() []string {
	var dirs []string
	goroot, modcache := goDirs()
	for _, d := range []string{goroot, modcache} {
		if info, err := os.Stat(d); err == nil && info.IsDir() {
			dirs = append(dirs, filepath.Clean(d))
		}
	}
	return dirs
}

// GoCommand returns the command "go args..." in dir, with all that it needs.
func GoCommand(dir, cacheDir string, args ...string) Command {
	return Command{
		Args:  append([]string{"go"}, args...),
		Dir:   dir,
		Env:   GoEnv(cacheDir),
		Read:  GoRead(),
		Write: []string{cacheDir},
	}
}

// goDirs asks the installed go command where it and its module cache are. Both
// are empty when there is none.
func goDirs() (goroot, modcache string) {
	program, err := exec.LookPath("go")
	if err != nil {
		return "", ""
	}
	cmd := exec.Command(program, "env", "GOROOT", "GOMODCACHE")
	cmd.Dir = "/" // no go.mod here may choose another toolchain
	out, err := cmd.Output()
	if err != nil {
		return "", ""
	}
	goroot, modcache, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
	return goroot, modcache
}
