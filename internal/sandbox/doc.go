// Package sandbox runs a command with limits, without credentials, without the
// network.
//
// A command runs under a supervisor, which is the program's own binary started
// again (see [Child]) in new user, mount, PID, network, IPC and UTS namespaces:
//
//	Run ──fork──► supervisor (PID 1) ──fork──► the command ──► its descendants
//	 │ control pipe: the spec, then its end means stop      │
//	 └ report pipe: exit status, or why it ended ◄─┘
//
// The supervisor builds the file view, brings up the loopback interface, drops
// every capability, sets the resource limits, Landlock and a system call
// filter, starts the command and watches the memory and the number of tasks.
// Then:
//
//   - the command exits: the supervisor reports its status and exits, and the
//     kernel kills what is left in the PID namespace;
//   - a limit is passed: the supervisor reports which, and exits;
//   - the time is up, or the caller's context ends: Run kills the supervisor;
//   - Run's process dies: the kernel kills the supervisor (PR_SET_PDEATHSIG),
//     and the control pipe ends.
//
// Bubblewrap, where it works, makes the namespaces in place of the supervisor.
// With [Options.Switch] the namespaces are left out; then the supervisor adopts
// orphans (PR_SET_CHILD_SUBREAPER) and kills its descendants one by one.
//
// What a command leaves in a writable directory is not to be trusted: read it
// as data. The .git entry of a writable directory is read-only inside, because
// git runs what a repository's configuration names.
package sandbox
