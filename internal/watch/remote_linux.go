package watch

import "syscall"

// remote reports whether a folder's file system can change without events here: network file systems, those in user space, and virtual ones
// of the kernel. The numbers are those of statfs(2).
func remote(folder string) bool {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(folder, &fs); err != nil {
		return false
	}
	switch uint32(fs.Type) { // the field is wider on some machines and signed on others
	case 0x6969, // NFS
		0x517b, 0xff534d42, 0xfe534d42, // SMB, CIFS, SMB2
		0x65735546,             // FUSE, and with it virtiofs, sshfs, Docker Desktop's mounts
		0x01021997,             // 9P
		0x00c36400,             // Ceph
		0x5346414f, 0x6b414653, // AFS
		0x73757245,             // Coda
		0x0bd00bd0, 0x47504653, // Lustre, GPFS
		0x01161970, 0x7461636f, // GFS2, OCFS2
		0x786f4256, 0xbacbacbc, // VirtualBox's and VMware's shared folders
		0x9fa0, 0x62656572: // proc, sysfs
		return true
	}
	return false
}
