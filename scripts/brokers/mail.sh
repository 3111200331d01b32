# aiosmtpd, a mail server in Python, which takes mail with TLS and a login only and keeps it in a Maildir. Exports
#
#   WAYBILL_TEST_SMTP       host:port for STARTTLS. User "alerts" with "alerts-secret"; PLAIN and LOGIN
#   WAYBILL_TEST_SMTPS      host:port for TLS from the first byte
#   WAYBILL_TEST_SMTP_LOGIN host:port for STARTTLS where only LOGIN is offered
#   WAYBILL_TEST_SMTP_CA    file with the authority of its certificate, PEM
#   WAYBILL_TEST_MAILDIR    directory with a Maildir of what arrived. Mail to nobody@… is refused

# shellcheck shell=bash disable=SC2034
packages_mail="./adapters/notify"

aiosmtpd_version=1.4.6
aiosmtpd_env=$PWD/bin/aiosmtpd-$aiosmtpd_version

install_mail() {
	need openssl && python_env "$aiosmtpd_env" aiosmtpd "aiosmtpd==$aiosmtpd_version"
}

start_mail() {
	local dir=$1 starttls tls login
	free_ports starttls tls login || return 1
	certificates "$dir" || {
		echo "openssl made no certificates" >&2
		return 1
	}
	cat >"$dir/server.py" <<-'PY'
		import ssl, sys, threading
		from aiosmtpd.controller import Controller
		from aiosmtpd.handlers import Mailbox
		from aiosmtpd.smtp import AuthResult

		dir, starttls, tls, login = sys.argv[1], *map(int, sys.argv[2:])
		context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
		context.load_cert_chain(dir + "/server.pem", dir + "/server.key")

		class Handler(Mailbox):
		    async def handle_RCPT(self, server, session, envelope, address, options):
		        if address.startswith("nobody@"):
		            return "550 5.1.1 No such user here"
		        envelope.rcpt_tos.append(address)
		        return "250 2.1.5 OK"

		def authenticator(server, session, envelope, mechanism, data):
		    return AuthResult(success=(data.login, data.password) == (b"alerts", b"alerts-secret"), handled=False)

		options = dict(hostname="127.0.0.1", authenticator=authenticator, auth_required=True)
		handler = Handler(dir + "/mail")
		for controller in (
		    Controller(handler, port=starttls, tls_context=context, require_starttls=True, **options),
		    Controller(handler, port=login, tls_context=context, require_starttls=True, auth_exclude_mechanism=["PLAIN"], **options),
		    Controller(handler, port=tls, ssl_context=context, auth_require_tls=False, **options),
		):
		    controller.start()
		threading.Event().wait()
	PY
	background "$dir/server.log" "$aiosmtpd_env/bin/python" "$dir/server.py" "$dir" "$starttls" "$tls" "$login"
	if ! await listens "$starttls" || ! await listens "$tls"; then
		tail -n 5 "$dir/server.log" >&2
		echo "aiosmtpd did not start" >&2
		return 1
	fi
	export WAYBILL_TEST_SMTP=localhost:$starttls WAYBILL_TEST_SMTPS=localhost:$tls WAYBILL_TEST_SMTP_LOGIN=localhost:$login
	export WAYBILL_TEST_SMTP_CA=$dir/ca.pem WAYBILL_TEST_MAILDIR=$dir/mail
}
