// Java's view of the token through SunPKCS11: what an application does with a KeyStore, with Signature, from many threads, and as a TLS server.
//   java TokenTest CFG sign  RSA EC RSA.pub EC.pub     prints "ok NAME" or "FAIL NAME: reason" for each check
//   java TokenTest CFG serve LABEL PORT                serves TLS on 127.0.0.1 until it is ended
// The PIN is in the environment variable PIN. Every signature is verified by the software providers with the public key file.

import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Provider;
import java.security.PublicKey;
import java.security.Security;
import java.security.Signature;
import java.security.cert.Certificate;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PSSParameterSpec;
import java.security.spec.X509EncodedKeySpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.X509ExtendedKeyManager;

public final class TokenTest {
    private interface Check {
        void run() throws Exception;
    }

    private static Provider token;
    private static KeyStore store;
    private static boolean failed;

    public static void main(String[] args) throws Exception {
        token = Security.getProvider("SunPKCS11").configure(args[0]);
        Security.addProvider(token);
        store = KeyStore.getInstance("PKCS11", token);
        store.load(null, System.getenv("PIN").toCharArray());
        if (args[1].equals("serve")) {
            serve(args[2], Integer.parseInt(args[3]));
        } else {
            sign(args[2], args[3], publicKey("RSA", args[4]), publicKey("EC", args[5]));
            System.exit(failed ? 1 : 0); // SunPKCS11 keeps threads of its own
        }
    }

    private static void sign(String rsa, String ec, PublicKey rsaPublic, PublicKey ecPublic) {
        for (var entry : List.of(new Object[] {rsa, rsaPublic}, new Object[] {ec, ecPublic})) {
            String label = (String) entry[0];
            check("KeyStore entry and chain of " + label, () -> {
                require(store.isKeyEntry(label), "no key entry");
                Certificate[] chain = store.getCertificateChain(label);
                require(chain != null && chain.length >= 2, "the chain has " + (chain == null ? 0 : chain.length) + " certificates");
                require(Arrays.equals(chain[0].getPublicKey().getEncoded(), ((PublicKey) entry[1]).getEncoded()), "the leaf has another key");
                chain[0].verify(chain[1].getPublicKey());
                require(store.getKey(label, null).getEncoded() == null, "the private key has an encoding");
            });
        }
        check("aliases are distinct", () -> {
            List<String> aliases = Collections.list(store.aliases());
            require(aliases.stream().distinct().count() == aliases.size(), aliases.toString());
        });
        for (String hash : List.of("SHA256", "SHA384", "SHA512")) {
            check(hash + "withRSA", () -> roundTrip(hash + "withRSA", null, rsa, rsaPublic));
            check(hash + "withECDSA", () -> roundTrip(hash + "withECDSA", null, ec, ecPublic));
            String name = hash.replace("SHA", "SHA-");
            int salt = Integer.parseInt(hash.substring(3)) / 8;
            check("RSASSA-PSS " + name, () -> roundTrip("RSASSA-PSS", new PSSParameterSpec(name, "MGF1", new MGF1ParameterSpec(name), salt, 1), rsa, rsaPublic));
        }
        // Old peers still ask for it; ECDSA with it is SunPKCS11's too.
        check("SHA1withRSA", () -> roundTrip("SHA1withRSA", null, rsa, rsaPublic));
        check("SHA1withECDSA", () -> roundTrip("SHA1withECDSA", null, ec, ecPublic));
        check("verify on the token", () -> {
            KeyPairGenerator generator = KeyPairGenerator.getInstance("RSA", "SunRsaSign");
            generator.initialize(2048);
            KeyPair pair = generator.generateKeyPair();
            byte[] message = {1, 2, 3};
            Signature signer = Signature.getInstance("SHA256withRSA", "SunRsaSign");
            signer.initSign(pair.getPrivate());
            signer.update(message);
            Signature verifier = Signature.getInstance("SHA256withRSA", token);
            verifier.initVerify(pair.getPublic());
            verifier.update(message);
            require(verifier.verify(signer.sign()), "a good signature was refused");
        });
        check("16 threads, 200 signatures each", () -> threads(16, 200, rsa, ec, rsaPublic, ecPublic));
    }

    /** Signs in two updates with the token and verifies in software. */
    private static void roundTrip(String algorithm, PSSParameterSpec parameters, String label, PublicKey key) throws Exception {
        byte[] message = new byte[10_000];
        new java.util.Random(7).nextBytes(message);
        Signature signer = Signature.getInstance(algorithm, token);
        signer.initSign((PrivateKey) store.getKey(label, null));
        if (parameters != null) signer.setParameter(parameters);
        signer.update(message, 0, 1);
        signer.update(message, 1, message.length - 1);
        verify(algorithm, parameters, key, message, signer.sign());
    }

    private static void verify(String algorithm, PSSParameterSpec parameters, PublicKey key, byte[] message, byte[] signature) throws Exception {
        Signature verifier = Signature.getInstance(algorithm, key.getAlgorithm().equals("RSA") ? "SunRsaSign" : "SunEC");
        verifier.initVerify(key);
        if (parameters != null) verifier.setParameter(parameters);
        verifier.update(message);
        require(verifier.verify(signature), "the signature does not verify");
        message[0] ^= 1;
        verifier.update(message);
        require(!verifier.verify(signature), "the signature verifies for another message");
        message[0] ^= 1;
    }

    private static void threads(int threads, int signatures, String rsa, String ec, PublicKey rsaPublic, PublicKey ecPublic) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(threads);
        List<Future<?>> running = new ArrayList<>();
        for (int thread = 0; thread < threads; thread++) {
            boolean useRsa = thread % 2 == 0;
            int number = thread;
            running.add(pool.submit(() -> {
                String algorithm = useRsa ? "SHA256withRSA" : "SHA256withECDSA";
                PrivateKey key = (PrivateKey) store.getKey(useRsa ? rsa : ec, null);
                for (int turn = 0; turn < signatures; turn++) {
                    byte[] message = ("thread " + number + " turn " + turn).getBytes(StandardCharsets.UTF_8);
                    Signature signer = Signature.getInstance(algorithm, token);
                    signer.initSign(key);
                    signer.update(message);
                    verify(algorithm, null, useRsa ? rsaPublic : ecPublic, message, signer.sign());
                }
                return null;
            }));
        }
        try {
            for (Future<?> one : running) one.get();
        } finally {
            pool.shutdownNow();
        }
    }

    /** Answers "served" to whoever completes a handshake; the key manager offers the one label only. */
    private static void serve(String label, int port) throws Exception {
        KeyManagerFactory factory = KeyManagerFactory.getInstance("SunX509");
        factory.init(store, null);
        X509ExtendedKeyManager all = (X509ExtendedKeyManager) factory.getKeyManagers()[0];
        String type = store.getCertificate(label).getPublicKey().getAlgorithm();
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(new KeyManager[] {new Only(all, label, type)}, null, null);
        SSLServerSocket listener = (SSLServerSocket) context.getServerSocketFactory().createServerSocket(port, 50, InetAddress.getByName("127.0.0.1"));
        ExecutorService pool = Executors.newFixedThreadPool(8);
        while (true) {
            SSLSocket peer = (SSLSocket) listener.accept();
            pool.submit(() -> answer(peer));
        }
    }

    private static void answer(SSLSocket peer) {
        try (peer; InputStream in = peer.getInputStream()) {
            peer.setSoTimeout(5000);
            if (in.read(new byte[4096]) > 0) {
                peer.getOutputStream().write("HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\nserved\n".getBytes(StandardCharsets.US_ASCII));
                peer.getOutputStream().flush();
            }
        } catch (IOException e) {
            // The port probe hangs up before the handshake; a client that matters checks its own result.
        }
    }

    private static final class Only extends X509ExtendedKeyManager {
        private final X509ExtendedKeyManager all;
        private final String label;
        private final String type;

        Only(X509ExtendedKeyManager all, String label, String type) {
            this.all = all;
            this.label = label;
            this.type = type;
        }

        private String choose(String wanted) {
            return wanted.startsWith(type) ? label : null;
        }

        @Override public String chooseServerAlias(String wanted, java.security.Principal[] issuers, java.net.Socket socket) { return choose(wanted); }
        @Override public String chooseEngineServerAlias(String wanted, java.security.Principal[] issuers, javax.net.ssl.SSLEngine engine) { return choose(wanted); }
        @Override public String[] getServerAliases(String wanted, java.security.Principal[] issuers) { return new String[] {label}; }
        @Override public String chooseClientAlias(String[] wanted, java.security.Principal[] issuers, java.net.Socket socket) { return null; }
        @Override public String[] getClientAliases(String wanted, java.security.Principal[] issuers) { return null; }
        @Override public java.security.cert.X509Certificate[] getCertificateChain(String alias) { return all.getCertificateChain(alias); }
        @Override public PrivateKey getPrivateKey(String alias) { return all.getPrivateKey(alias); }
    }

    private static PublicKey publicKey(String algorithm, String file) throws Exception {
        String body = Files.readString(Path.of(file)).replaceAll("-----[^-]+-----|\\s", "");
        String provider = algorithm.equals("RSA") ? "SunRsaSign" : "SunEC";
        return KeyFactory.getInstance(algorithm, provider).generatePublic(new X509EncodedKeySpec(Base64.getDecoder().decode(body)));
    }

    private static void check(String name, Check check) {
        try {
            check.run();
            System.out.println("ok " + name);
        } catch (Throwable reason) {
            failed = true;
            Throwable root = reason;
            while (root.getCause() != null && root.getCause() != root) root = root.getCause();
            System.out.println("FAIL " + name + ": " + reason + (root == reason ? "" : " / " + root));
        }
    }

    private static void require(boolean truth, String otherwise) throws Exception {
        if (!truth) throw new Exception(otherwise);
    }
}
