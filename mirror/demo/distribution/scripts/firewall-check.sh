#!@shell@
# firewall-check FILE: fails where a rule is about a port that there cannot be.
while read -r verb protocol port; do
  if [ "$verb" = accept ] && [ "$port" -gt 65535 ]; then
    echo "$1: $protocol has no port $port" >&2
    exit 1
  fi
done <"$1"
