// Asks for a passkey.
document.getElementById('passkey').addEventListener('submit', function (e) {
  e.preventDefault();
  var form = e.target;
  var Key = window.PublicKeyCredential;
  var keys = navigator.credentials;
  fetch(form.action + '/begin', { method: 'POST' }).then(function (r) {
    return r.redirected ? location.assign(r.url) : r.json().then(function (o) {
      if (o.error) throw Error(o.error);
      return o.user ? keys.create({ publicKey: Key.parseCreationOptionsFromJSON(o) }) : keys.get({ publicKey: Key.parseRequestOptionsFromJSON(o) });
    }).then(function (made) {
      form.credential.value = JSON.stringify(made);
      form.submit();
    });
  }).catch(function (e) {
    form.querySelector('[role=status]').textContent = 'No passkey: ' + (Key && Key.parseRequestOptionsFromJSON ? e.message : 'this browser has none');
  });
});
