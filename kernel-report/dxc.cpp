// Compiles the HLSL files that `kernel-report --hlsl FOLDER` wrote with Microsoft's compiler: dxc LIBRARY FOLDER.
#include "WinAdapter.h"
#include "dxcapi.h"
#include <dlfcn.h>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    void *library = dlopen(argv[1], RTLD_NOW);
    if (!library) { std::cerr << dlerror() << '\n'; return 2; }
    auto make = reinterpret_cast<DxcCreateInstanceProc>(dlsym(library, "DxcCreateInstance"));
    IDxcCompiler3 *compiler = nullptr;
    if (!make || make(CLSID_DxcCompiler, __uuidof(IDxcCompiler3), reinterpret_cast<void **>(&compiler)) != 0) return 2;

    const std::string folder = std::string(argv[2]) + "/";
    std::ifstream list(folder + "list.tsv");
    std::string file, entry, precision, name;
    int good = 0, bad = 0;
    while (std::getline(list, file, '\t') && std::getline(list, entry, '\t') && std::getline(list, precision, '\t') && std::getline(list, name)) {
        std::ifstream stream(folder + file);
        const std::string text{std::istreambuf_iterator<char>(stream), {}};
        const std::wstring main(entry.begin(), entry.end());
        // As wgpu calls it.
        std::vector<LPCWSTR> options = {L"-E", main.c_str(), L"-T", L"cs_6_2", L"-HV", L"2018", L"-no-warnings", L"-Ges"};
        if (precision == "f16") options.push_back(L"-enable-16bit-types");
        const DxcBuffer source{text.data(), text.size(), DXC_CP_UTF8};
        IDxcResult *result = nullptr;
        HRESULT status = compiler->Compile(&source, options.data(), options.size(), nullptr, __uuidof(IDxcResult), reinterpret_cast<void **>(&result));
        if (status == 0) result->GetStatus(&status);
        if (status == 0) { good++; } else {
            bad++;
            IDxcBlobUtf8 *told = nullptr;
            if (result) result->GetOutput(DXC_OUT_ERRORS, __uuidof(IDxcBlobUtf8), reinterpret_cast<void **>(&told), nullptr);
            std::cout << name << ": " << (told && told->GetStringLength() ? told->GetStringPointer() : "no reason was given") << '\n';
            if (told) told->Release();
        }
        if (result) result->Release();
    }
    std::cout << "DXC compiled " << good << " variants and refused " << bad << '\n';
    return good > 0 && bad == 0 ? 0 : 1;
}
