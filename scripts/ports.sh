# Ports for servers of tests, to be sourced.
#
# free_ports NAME … sets each variable to a TCP port of its own that nobody uses. It takes none that the system gives to
# outgoing connections, for on a busy machine those are lost before the server gets to them; it binds each, which also
# fails where somebody has bound a port and listens later; and it gives none twice. Another one may still be faster:
# whoever starts a server does so again, with other ports, when it did not come up.

# shellcheck shell=bash
# server_ports prints the first and the last port of the range that servers may use: the wider one of those below and
# above the ports of outgoing connections, but none below 10000, where well-known services are.
server_ports() {
	local low='' high=''
	if [ -r /proc/sys/net/ipv4/ip_local_port_range ]; then
		read -r low high </proc/sys/net/ipv4/ip_local_port_range
	else
		low=$(sysctl -n net.inet.ip.portrange.first 2>/dev/null)
		high=$(sysctl -n net.inet.ip.portrange.last 2>/dev/null)
	fi
	local below=$((${low:-32768} - 10000)) above=$((65535 - ${high:-60999}))
	if [ "$below" -ge "$above" ] && [ "$below" -gt 100 ]; then
		echo 10000 $((${low:-32768} - 1))
	elif [ "$above" -gt 100 ]; then
		echo $((${high:-60999} + 1)) 65535
	else
		echo 1024 65535 # the system leaves no room for servers; then a port may be lost, and is tried anew
	fi
}

ports_given=' '
free_ports() {
	local range ports name
	range=$(server_ports) || return 1
	# perl is a part of every Debian and macOS, and can bind.
	# shellcheck disable=SC2086
	if ! ports=$(perl -MIO::Socket::IP -MErrno=EADDRINUSE -MList::Util=shuffle -e '
		my ($wanted, $first, $last, @given) = @ARGV;
		my %given = map { $_ => 1 } @given;
		sub bound {
			my ($host, $port) = @_;
			return !IO::Socket::IP->new(LocalHost => $host, LocalPort => $port, Listen => 1) && $! == EADDRINUSE;
		}
		for my $port (shuffle $first .. $last) {
			last unless $wanted;
			next if $given{$port} || bound("0.0.0.0", $port) || bound("::1", $port);
			print "$port ";
			$wanted--;
		}
		exit($wanted > 0)' $# $range $ports_given); then
		echo "no free port between ${range/ / and }" >&2
		return 1
	fi
	ports_given+=$ports
	for name in "$@"; do
		printf -v "$name" %s "${ports%% *}"
		ports=${ports#* }
	done
}
