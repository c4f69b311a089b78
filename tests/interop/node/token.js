// graphene-pk11 on the token: token.js MODULE TOKEN PIN RSA-LABEL RSA-PUBLIC EC-LABEL EC-PUBLIC DECRYPT-LABEL DECRYPT-PUBLIC
// One line a check: "ok NAME" or "FAIL NAME". What comes out is judged by node's own crypto.
"use strict";
const crypto = require("node:crypto");
const fs = require("node:fs");
const graphene = require("graphene-pk11");
const [path, token, pin, rsa, rsaPublic, ec, ecPublic, box, boxPublic] = process.argv.slice(2);
const { ObjectClass, KeyType, KeyGenMechanism, MechanismEnum } = graphene;

let failed = 0;
function check(name, work) {
  try {
    if (work() === false) throw new Error("not as it should be");
    console.log("ok", name);
  } catch (error) {
    failed += 1;
    console.log("FAIL", name);
    console.error(name, error.stack);
  }
}

const data = crypto.randomBytes(3000);
const module_ = graphene.Module.load(path, "alikms");
module_.initialize();
const slots = module_.getSlots(true);
const slot = [...Array(slots.length).keys()].map((at) => slots.items(at)).find((slot) => slot.getToken().label.trim() === token);
const session = slot.open(graphene.SessionFlag.SERIAL_SESSION | graphene.SessionFlag.RW_SESSION);

const one = (template) => {
  const found = session.find(template);
  if (found.length !== 1) throw new Error(`${found.length} objects`);
  return found.items(0);
};
const privateKey = (label) => one({ class: ObjectClass.PRIVATE_KEY, label }).toType();
const publicPem = (file) => crypto.createPublicKey(fs.readFileSync(file));

check("a wrong PIN is CKR_PIN_INCORRECT", () => {
  try {
    session.login("not-this-one");
  } catch (error) {
    return /CKR_PIN_INCORRECT/.test(error.message);
  }
  return false;
});
check("login", () => session.login(pin));
check("mechanisms", () => {
  const names = slot.getMechanisms();
  const known = [...Array(names.length).keys()].map((at) => names.items(at).type);
  return known.includes(MechanismEnum.ECDSA) && known.includes(MechanismEnum.AES_GCM);
});
check("attributes of a private key", () => {
  const key = privateKey(rsa);
  return key.getAttribute({ modulus: null }).modulus.length === 256 && key.sensitive === true && key.extractable === false;
});
check("a certificate belongs to each key", () => [rsa, ec].every((label) => {
  const certificate = one({ class: ObjectClass.CERTIFICATE, label });
  const file = label === rsa ? rsaPublic : ecPublic;
  const { publicKey } = new crypto.X509Certificate(certificate.getAttribute({ value: null }).value);
  return publicKey.export({ type: "spki", format: "der" }).equals(publicPem(file).export({ type: "spki", format: "der" }));
}));
for (const parts of [1, 7]) {
  const signed = (mechanism, key) => {
    const sign = session.createSign(mechanism, key);
    if (parts === 1) return sign.once(data);
    for (let at = 0; at < data.length; at += 500) sign.update(data.subarray(at, at + 500));
    return sign.final();
  };
  const how = parts === 1 ? "at once" : "in parts";
  check(`SHA256_RSA_PKCS ${how}`, () => crypto.verify("sha256", data, publicPem(rsaPublic), signed("SHA256_RSA_PKCS", privateKey(rsa))));
  check(`SHA256_RSA_PKCS_PSS ${how}`, () => {
    const mechanism = { name: "SHA256_RSA_PKCS_PSS", params: new graphene.RsaPssParams(MechanismEnum.SHA256, graphene.RsaMgf.MGF1_SHA256, 32) };
    const key = { key: publicPem(rsaPublic), padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
    return crypto.verify("sha256", data, key, signed(mechanism, privateKey(rsa)));
  });
  check(`ECDSA_SHA256 ${how}`, () => crypto.verify("sha256", data, { key: publicPem(ecPublic), dsaEncoding: "ieee-p1363" }, signed("ECDSA_SHA256", privateKey(ec))));
}
check("createVerify", () => {
  const signature = session.createSign("SHA256_RSA_PKCS", privateKey(rsa)).once(data);
  const key = one({ class: ObjectClass.PUBLIC_KEY, label: rsa }).toType();
  return session.createVerify("SHA256_RSA_PKCS", key).once(data, signature) && !session.createVerify("SHA256_RSA_PKCS", key).once(Buffer.from("other"), signature);
});
check("RSA_PKCS_OAEP decrypts what node encrypted", () => {
  const secret = crypto.randomBytes(32);
  const sealed = crypto.publicEncrypt({ key: publicPem(boxPublic), padding: crypto.constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" }, secret);
  const mechanism = { name: "RSA_PKCS_OAEP", params: new graphene.RsaOaepParams(MechanismEnum.SHA256, graphene.RsaMgf.MGF1_SHA256) };
  return session.createDecipher(mechanism, privateKey(box)).once(sealed, Buffer.alloc(256)).equals(secret);
});

// Keys of the session, and what node makes of the same bytes.
check("AES_GCM and AES_CBC_PAD", () => {
  const bytes = crypto.randomBytes(32), iv = crypto.randomBytes(16);
  const key = session.create({ class: ObjectClass.SECRET_KEY, keyType: KeyType.AES, value: bytes, encrypt: true, decrypt: true, token: false }).toType();
  const gcm = { name: "AES_GCM", params: new graphene.AesGcm240Params(iv.subarray(0, 12), Buffer.from("aad"), 128) };
  const sealed = session.createCipher(gcm, key).once(data, Buffer.alloc(data.length + 16));
  const judge = crypto.createDecipheriv("aes-256-gcm", bytes, iv.subarray(0, 12)).setAAD(Buffer.from("aad")).setAuthTag(sealed.subarray(-16));
  if (!Buffer.concat([judge.update(sealed.subarray(0, -16)), judge.final()]).equals(data)) return false;
  const cipher = session.createCipher({ name: "AES_CBC_PAD", params: iv }, key);
  const padded = Buffer.concat([cipher.update(data.subarray(0, 5)), cipher.update(data.subarray(5)), cipher.final()]);
  const other = crypto.createCipheriv("aes-256-cbc", bytes, iv);
  return padded.equals(Buffer.concat([other.update(data), other.final()]));
});
check("digest", () => session.createDigest("SHA256").once(data).equals(crypto.createHash("sha256").update(data).digest()));
check("generate, wrap, unwrap", () => {
  const usage = { wrap: true, unwrap: true, encrypt: true, decrypt: true };
  const outer = session.generateKey(KeyGenMechanism.AES, { keyType: KeyType.AES, valueLen: 32, ...usage, token: false });
  const inner = session.generateKey(KeyGenMechanism.AES, { keyType: KeyType.AES, valueLen: 16, extractable: true, sensitive: false, token: false });
  const wrapped = session.wrapKey("AES_KEY_WRAP_PAD", outer, inner);
  const again = session.unwrapKey("AES_KEY_WRAP_PAD", outer, wrapped, { class: ObjectClass.SECRET_KEY, keyType: KeyType.AES, token: false, extractable: true, sensitive: false });
  return again.getAttribute({ value: null }).value.equals(inner.getAttribute({ value: null }).value);
});
check("ECDH with a key pair of node's", () => {
  const pair = session.generateKeyPair(KeyGenMechanism.ECDSA, { keyType: KeyType.EC, paramsEC: graphene.NamedCurve.getByName("secp256r1").value, derive: true, token: false }, { keyType: KeyType.EC, derive: true, token: false, private: true });
  const other = crypto.createECDH("prime256v1");
  other.generateKeys();
  const mechanism = { name: "ECDH1_DERIVE", params: new graphene.EcdhParams(graphene.EcKdf.NULL, null, other.getPublicKey()) };
  const secret = session.deriveKey(mechanism, pair.privateKey, { class: ObjectClass.SECRET_KEY, keyType: KeyType.GENERIC_SECRET, valueLen: 32, extractable: true, sensitive: false, token: false });
  const point = pair.publicKey.getAttribute({ pointEC: null }).pointEC.subarray(2);
  return secret.getAttribute({ value: null }).value.equals(other.computeSecret(point));
});
check("a key pair stored, found, used and destroyed", () => {
  const id = crypto.randomBytes(16), label = `graphene ${id.toString("hex")}`;
  const common = { keyType: KeyType.EC, id, label, token: true };
  session.generateKeyPair(KeyGenMechanism.ECDSA, { ...common, paramsEC: graphene.NamedCurve.getByName("secp256r1").value, verify: true }, { ...common, sign: true, private: true });
  const signature = session.createSign("ECDSA_SHA256", privateKey(label)).once(data);
  const publicKey = one({ class: ObjectClass.PUBLIC_KEY, id }).toType();
  const good = session.createVerify("ECDSA_SHA256", publicKey).once(data, signature);
  session.destroy(privateKey(label));
  session.destroy(publicKey);
  return good && session.find({ label }).length === 0;
});
check("a data object", () => {
  const object = session.create({ class: ObjectClass.DATA, label: "graphene data", value: data, token: true, private: false });
  const good = one({ class: ObjectClass.DATA, label: "graphene data" }).getAttribute({ value: null }).value.equals(data);
  session.destroy(object);
  return good && session.find({ class: ObjectClass.DATA, label: "graphene data" }).length === 0;
});
// Not by Sign.once: it drops its copy of the data, and a collection of garbage before the worker's turn makes it sign something else.
const kept = [];
const later = [...Array(40).keys()].map(() => new Promise((resolve, reject) => {
  const own = slot.open(graphene.SessionFlag.SERIAL_SESSION);
  const key = own.find({ class: ObjectClass.PRIVATE_KEY, label: ec }).items(0).toType();
  const input = Buffer.from(data), output = Buffer.alloc(1024);
  kept.push(input, output);
  own.createSign("ECDSA_SHA256", key).lib.C_Sign(own.handle, input, output, (error, signature) => {
    own.close();
    if (error) reject(error);
    else resolve(crypto.verify("sha256", data, { key: publicPem(ecPublic), dsaEncoding: "ieee-p1363" }, signature));
  });
}));
Promise.all(later).then((all) => check("40 asynchronous signatures", () => all.every(Boolean)), (error) => check("40 asynchronous signatures", () => { throw error; })).then(() => {
  check("logout and finalize", () => {
    session.logout();
    session.close();
    module_.finalize();
  });
  process.exitCode = failed ? 1 : 0;
});
