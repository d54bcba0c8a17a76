package sandbox

import (
	"runtime"

	"conclave"

	"golang.org/x/sys/unix"
)

// deniedSystemCalls would make more namespaces, reach the kernel in ways that
// tests have no use for, or hold memory that no limit counts.
var deniedSystemCalls = [...]uint32{
	unix.SYS_ACCT, unix.SYS_ADD_KEY, unix.SYS_BPF, unix.SYS_CHROOT, unix.SYS_DELETE_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_FSCONFIG,
	unix.SYS_FSMOUNT, unix.SYS_FSOPEN, unix.SYS_FSPICK, unix.SYS_INIT_MODULE, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_IO_URING_SETUP, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_KEXEC_LOAD, unix.SYS_KEYCTL, unix.SYS_MEMFD_CREATE,
	unix.SYS_MEMFD_SECRET, unix.SYS_MOUNT, unix.SYS_MOUNT_SETATTR, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_OPEN_TREE,
	unix.SYS_PERF_EVENT_OPEN, unix.SYS_PIVOT_ROOT, unix.SYS_QUOTACTL, unix.SYS_REBOOT, unix.SYS_REQUEST_KEY, unix.SYS_SETNS,
	unix.SYS_SHMGET, unix.SYS_SWAPOFF, unix.SYS_SWAPON, unix.SYS_SYSLOG, unix.SYS_UMOUNT2, unix.SYS_UNSHARE, unix.SYS_USERFAULTFD,
}

// Offsets in struct seccomp_data. Both architectures below are little-endian,
// so an argument's low half comes first.
const (
	dataNumber = 0
	dataArch   = 4
	dataArg0   = 16
)

const namespaceFlags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// systemCallFilter returns a filter that refuses deniedSystemCalls, new
// namespaces, foreign calling conventions, and sockets of families that a
// network namespace does not hold (vsock reaches the host of a virtual machine).
// It fails with ErrUnsupported on other processors than amd64 and arm64.
func systemCallFilter() ([]unix.SockFilter, error) {
	allow := stmt(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ALLOW)
	refuse := stmt(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM))
	missing := stmt(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS))
	load := func(offset uint32) unix.SockFilter { return stmt(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset) }

	var arch, x32 uint32
	switch runtime.GOARCH {
	case "amd64":
		arch, x32 = unix.AUDIT_ARCH_X86_64, 0x40000000
	case "arm64":
		arch = unix.AUDIT_ARCH_AARCH64
	default:
		return nil, conclave.Errorf(conclave.ErrUnsupported, "no system call filter for %s", runtime.GOARCH)
	}
	f := []unix.SockFilter{load(dataArch), jump(unix.BPF_JEQ, arch, 1, 0), missing, load(dataNumber)}
	if x32 != 0 {
		f = append(f, jump(unix.BPF_JGE, x32, 0, 1), missing)
	}
	// The flags of clone3 are behind a pointer. Its callers fall back to clone.
	f = append(f, jump(unix.BPF_JEQ, unix.SYS_CLONE3, 0, 1), missing)
	for _, number := range deniedSystemCalls {
		f = append(f, jump(unix.BPF_JEQ, number, 0, 1), refuse)
	}
	f = append(f, jump(unix.BPF_JEQ, unix.SYS_CLONE, 0, 4), load(dataArg0), jump(unix.BPF_JSET, namespaceFlags, 0, 1), refuse, allow)
	f = append(f, jump(unix.BPF_JEQ, unix.SYS_SOCKET, 1, 0), allow, load(dataArg0))
	for _, family := range []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK} {
		f = append(f, jump(unix.BPF_JEQ, family, 0, 1), allow)
	}
	return append(f, refuse), nil
}

func stmt(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }

// jump skips yes or no instructions.
func jump(compare uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | compare | unix.BPF_K, K: k, Jt: yes, Jf: no}
}
