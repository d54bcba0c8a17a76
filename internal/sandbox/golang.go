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
// [GoRead] in [Command.Read]; [GoCommand] does both.
//
// The user's own build cache stays out of reach, so that a command cannot put
// objects into it. For the same reason, commands that should not trust each
// other need a cacheDir each.
//
// Modules are never downloaded, and go.mod is never changed. Without an
// installed toolchain the variables still hold, and the go command is not found.
func GoEnv(cacheDir string) []string {
	goroot, modcache := goDirs()
	return goEnv(goroot, modcache, cacheDir)
}

// GoRead returns the directories that the Go toolchain reads: its own, and the
// user's module cache if there is one.
func GoRead() []string { return existing(goDirs()) }

// GoCommand returns the command "go args..." in dir, with all that it needs.
// Both directories must exist.
func GoCommand(dir, cacheDir string, args ...string) Command {
	goroot, modcache := goDirs()
	return Command{
		Args:  append([]string{"go"}, args...),
		Dir:   dir,
		Env:   goEnv(goroot, modcache, cacheDir),
		Read:  existing(goroot, modcache),
		Write: []string{cacheDir},
	}
}

func goEnv(goroot, modcache, cacheDir string) []string {
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
	}
	if goroot != "" {
		env = append(env, "GOROOT="+goroot, "PATH="+filepath.Join(goroot, "bin")+":"+systemPath)
	}
	if modcache != "" {
		env = append(env, "GOMODCACHE="+modcache)
	}
	return env
}

func existing(dirs ...string) []string {
	var found []string
	for _, d := range dirs {
		if info, err := os.Stat(d); err == nil && info.IsDir() {
			found = append(found, filepath.Clean(d))
		}
	}
	return found
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
