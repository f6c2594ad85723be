/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "master/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "config/config.h"
#include "log/log.h"

bool privileges_resolve(const struct config_global *g, struct privileges *ret)
{
	const struct passwd *pw;
	const struct group *gr;

	*ret = (struct privileges){ 0 };
	if (!g->user)
		return true;
	pw = getpwnam(g->user);
	if (!pw) {
		log_error("there is no user \"%s\" on this machine", g->user);
		return false;
	}
	ret->uid = pw->pw_uid;
	ret->gid = pw->pw_gid;
	if (g->group) {
		gr = getgrnam(g->group);
		if (!gr) {
			log_error("there is no group \"%s\" on this machine", g->group);
			return false;
		}
		ret->gid = gr->gr_gid;
	}
	ret->change = geteuid() == 0;
	if (!ret->change && ret->uid != geteuid())
		log_warning("only root can become user \"%s\"; going on as uid %u", g->user, (unsigned)geteuid());
	return true;
}

int privileges_drop(const struct privileges *p)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct none[2];

	memset(none, 0, sizeof(none));
	/*
	 * The bounding set first: it takes CAP_SETPCAP, which root may have been started without
	 * (EPERM).  What then stays in the set is out of reach all the same: no_new_privs.
	 */
	for (int cap = 0; geteuid() == 0 && cap <= 63; cap++) {
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == -1 && errno != EINVAL && errno != EPERM)
			return -errno;
	}
	if (p->change && (setgroups(0, NULL) == -1 || setgid(p->gid) == -1 || setuid(p->uid) == -1))
		return -errno;
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); /* kernels before 4.3 have none */
	if (syscall(SYS_capset, &header, none) == -1)
		return -errno;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1)
		return -errno;
	return 0;
}
