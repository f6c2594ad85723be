#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every example in conf/ loads, and there is nothing to warn of in any but
# reclaim.conf, which lets enclaves reach everything as the seed system does.
TEE_K_KMS_KEY=arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555
TEE_T_KMS_KEY=arn:aws:kms:eu-west-1:111122223333:key/66666666-7777-8888-9999-000000000000
export TEE_K_KMS_KEY TEE_T_KMS_KEY
unset AWS_REGION DEMO_DIR DEMO_HTTPS_PORT DEMO_HTTP_PORT DEMO_TCP_PORT
set -- "$top_srcdir"/conf/*.conf
echo "1..$#"
n=0 status=0
for file; do
	n=$((n + 1))
	case $file in
	*/reclaim.conf) check=--check ;;
	*) check=--check=strict ;;
	esac
	if said=$("$TEEPROXY" "$check" -f "$file" 2>&1); then
		echo "ok $n - conf/${file##*/} loads without a warning"
	else
		echo "not ok $n - conf/${file##*/} loads without a warning"
		echo "$said" | sed 's/^/# /'
		status=1
	fi
done
exit $status
